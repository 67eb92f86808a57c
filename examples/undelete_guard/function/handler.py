"""The undelete guard: restores a CloudHSM backup that was deleted, unless a tag says that this is meant.

The same deletion may come any number of times. What cannot be brought to its end is raised, so that Lambda
tries again and keeps the event. That goes for a message that could not be sent, too: rather two than none.
"""

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from pydantic import AliasPath, BaseModel, Field

from cloudhsm_restore import Backup, RestoreClient, RestoreError

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

# The Timeout in template.yaml has to be longer than all of this together; a test counts.
CONFIG = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2})
SECONDS_TO_RESTORE = 60.0

HELD_FOR = timedelta(days=7)

hsm = RestoreClient(config=CONFIG)
sns: "SNSClient" = boto3.client("sns", config=CONFIG)


class Deletion(BaseModel):
    """What EventBridge and CloudTrail say of a DeleteBackup call."""

    account: str
    region: str
    time: datetime = Field(validation_alias=AliasPath("detail", "eventTime"))
    backup_id: str = Field(validation_alias=AliasPath("detail", "requestParameters", "backupId"))
    by: str = Field("somebody unknown", validation_alias=AliasPath("detail", "userIdentity", "arn"))


def handle(event: object, _context: object) -> None:
    """Bring one deletion to its end."""
    deletion = Deletion.model_validate(event)
    key, value = os.environ["TAG_KEY"], os.environ["TAG_VALUE"]
    backup = None
    try:
        backup = hsm.get_backup(deletion.backup_id)
        if backup.tags.get(key) == value:
            meant = f"Its tag {key}={value} says that this is meant."
            _tell(deletion, "left deleted", meant, _way_back(deletion, backup))
            return
        hsm.ensure_restored(deletion.backup_id, timeout=SECONDS_TO_RESTORE)
    except RestoreError as error:
        outcome = "may be restored or not" if error.outcome_unknown else "NOT restored by this try"
        tries = (
            "Lambda makes three tries within minutes. After the last, the event is in the dead-letter queue."
        )
        _tell(deletion, outcome, str(error), _way_back(deletion, error.backup or backup), tries)
        raise
    _tell(deletion, "READY", f"To delete it for good, give it the tag {key}={value} and delete it again.")


def _way_back(deletion: Deletion, backup: Backup | None) -> str:
    until = (backup and backup.delete_timestamp) or deletion.time + HELD_FOR
    left = until - datetime.now(UTC)
    if left < timedelta():
        return f"Its 7 days were over at {until:%Y-%m-%d %H:%M} UTC."
    command = f"cloudhsm-restore restore --region {deletion.region} {deletion.backup_id}"
    hours = left.seconds // 3600
    return f"It can be restored until {until:%Y-%m-%d %H:%M} UTC ({left.days} d {hours} h): {command}"


def _tell(deletion: Deletion, outcome: str, *paragraphs: str) -> None:
    what = (
        f"CloudHSM backup {deletion.backup_id} in account {deletion.account}, {deletion.region}: {outcome}.\n"
        f"Deleted by {deletion.by} at {deletion.time:%Y-%m-%d %H:%M:%S} UTC."
    )
    sns.publish(
        TopicArn=os.environ["TOPIC_ARN"],
        Subject=f"{deletion.backup_id}: {outcome}",
        Message="\n\n".join([what, *paragraphs]),
    )

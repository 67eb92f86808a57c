"""The undelete guard: restores a deleted CloudHSM backup, unless a tag marks the deletion as intended.

`handle` gets each deletion that EventBridge delivers. `sweep` runs once a day, because CloudHSM's events are
delivered on a best-effort basis. Both follow one rule, `is_guarded` and the tag. Both can run any number of
times for the same deletion. Errors are raised, so that Lambda retries and then keeps the event. That includes
a message that could not be sent: two messages are better than none.
"""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from pydantic import AliasPath, BaseModel, Field

from cloudhsm_restore import Backup, RestoreClient, RestoreError

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

# The Timeout in template.yaml has to be longer than all of this together. A test adds it up.
CONFIG = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2})
SECONDS_TO_RESTORE = 60.0

HELD_FOR = timedelta(days=7)

hsm = RestoreClient(config=CONFIG)
sns: "SNSClient" = boto3.client("sns", config=CONFIG)
cloudtrail: Any = boto3.client("cloudtrail", config=CONFIG)


class Deletion(BaseModel):
    """The parts of EventBridge's event that the guard needs."""

    account: str
    region: str
    time: datetime = Field(validation_alias=AliasPath("detail", "eventTime"))
    backup_id: str = Field(validation_alias=AliasPath("detail", "requestParameters", "backupId"))
    detail: dict[str, Any]

    @property
    def by(self) -> str:
        """The ARN of the user who deleted the backup."""
        return str(_part(self.detail, "userIdentity").get("arn") or "an unknown user")


def is_guarded(event: Mapping[str, Any]) -> bool:
    """Return whether CloudTrail's event is a deletion to undo: not rejected, and not by the service itself.

    Only a clear statement in the event excludes a backup. A field that is null or absent never does.
    """
    return not event.get("errorCode") and _part(event, "userIdentity").get("type") != "AWSService"


def is_intended(backup: Backup) -> bool:
    """Return whether the tag of the backup marks its deletion as intended."""
    return backup.tags.get(os.environ["TAG_KEY"]) == os.environ["TAG_VALUE"]


def handle(event: dict[str, Any], _context: object) -> None:
    """Undo one deletion, or report why not."""
    deletion = Deletion.model_validate(event)
    if not is_guarded(deletion.detail):
        return
    tag = f"{os.environ['TAG_KEY']}={os.environ['TAG_VALUE']}"
    backup = None
    try:
        backup = hsm.get_backup(deletion.backup_id)
        if is_intended(backup):
            intended = f"Its tag {tag} marks the deletion as intended."
            _report(deletion, "left deleted", intended, _until(deletion, backup))
            return
        hsm.ensure_restored(deletion.backup_id, timeout=SECONDS_TO_RESTORE)
    except RestoreError as error:
        attempts = "Lambda makes three attempts within minutes. Then the event is in the dead-letter queue."
        _report(deletion, _outcome(error), str(error), _until(deletion, error.backup or backup), attempts)
        raise
    _report(deletion, "READY", f"To delete it permanently, give it the tag {tag} and delete it again.")


def sweep(_event: object, _context: object) -> None:
    """Restore or report every backup that is pending deletion, if its event was not delivered."""
    pending = list(hsm.describe_backups(states=["PENDING_DELETION"]))
    if not pending:
        return
    events = _deletions(datetime.now(UTC) - HELD_FOR)
    lines: dict[str, str] = {}
    guarded: list[str] = []
    for backup in pending:
        if is_intended(backup):
            continue
        if backup.backup_id not in events:
            lines[backup.backup_id] = "left deleted: CloudTrail has no event about it (the retention policy?)"
        elif is_guarded(events[backup.backup_id]):
            guarded.append(backup.backup_id)
    failed: RestoreError | None = None
    for result in hsm.restore_backups(guarded, timeout=SECONDS_TO_RESTORE):
        lines[result.backup_id] = f"{_outcome(result.error)}: {result.error}" if result.error else "READY"
        failed = failed or result.error
    if lines:
        listed = "\n".join(f"{backup_id}: {line}" for backup_id, line in sorted(lines.items()))
        where = f"in {os.environ['AWS_REGION']}"
        _publish(
            f"CloudHSM backups pending deletion {where}: {len(lines)}",
            f"The daily check found CloudHSM backups {where} that were pending deletion.",
            listed,
            "To restore one: cloudhsm-restore restore ID",
        )
    if failed:
        raise failed


def _part(event: Mapping[str, Any], name: str) -> dict[str, Any]:
    part: dict[str, Any] | None = event.get(name)
    return part if isinstance(part, dict) else {}


def _outcome(error: RestoreError) -> str:
    return "outcome unknown" if error.outcome_unknown else "NOT restored by this attempt"


def _deletions(since: datetime) -> dict[str, dict[str, Any]]:
    """Return the newest deletion of each backup, from CloudTrail's event history."""
    found: dict[str, dict[str, Any]] = {}
    pages = cloudtrail.get_paginator("lookup_events").paginate(
        LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "DeleteBackup"}], StartTime=since
    )
    for page in pages:
        for each in page["Events"]:  # newest first
            event: dict[str, Any] = json.loads(each["CloudTrailEvent"])
            backup_id: str | None = _part(event, "requestParameters").get("backupId")
            # DynamoDB and FSx have a DeleteBackup, too.
            if backup_id and event["eventSource"] == "cloudhsm.amazonaws.com" and not event.get("errorCode"):
                found.setdefault(backup_id, event)
    return found


def _until(deletion: Deletion, backup: Backup | None) -> str:
    until = (backup and backup.delete_timestamp) or deletion.time + HELD_FOR
    left = until - datetime.now(UTC)
    if left < timedelta():
        return f"Its 7 days ended at {until:%Y-%m-%d %H:%M} UTC."
    command = f"cloudhsm-restore restore --region {deletion.region} {deletion.backup_id}"
    hours = left.seconds // 3600
    return f"It can be restored until {until:%Y-%m-%d %H:%M} UTC ({left.days} d {hours} h): {command}"


def _report(deletion: Deletion, outcome: str, *paragraphs: str) -> None:
    where = f"in account {deletion.account}, {deletion.region}"
    _publish(
        f"{deletion.backup_id}: {outcome}",
        f"CloudHSM backup {deletion.backup_id} {where}: {outcome}.\n"
        f"Deleted by {deletion.by} at {deletion.time:%Y-%m-%d %H:%M:%S} UTC.",
        *paragraphs,
    )


def _publish(subject: str, *paragraphs: str) -> None:
    sns.publish(TopicArn=os.environ["TOPIC_ARN"], Subject=subject, Message="\n\n".join(paragraphs))

"""Backups and responses with sensible defaults."""

import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from ..models import Backup, BackupState, Mode, Tag

if TYPE_CHECKING:
    from mypy_boto3_cloudhsmv2.type_defs import RestoreBackupResponseTypeDef

REGION, ACCOUNT = "us-east-1", "111122223333"
RECOVERY_WINDOW = timedelta(days=7)
"""How long a deleted backup can be restored."""

StateName = Literal["CREATE_IN_PROGRESS", "READY", "DELETED", "PENDING_DELETION"]
ModeName = Literal["FIPS", "NON_FIPS"]


class BackupFields(TypedDict, total=False):
    """The fields of a `Backup` by keyword. None leaves out a field that has a default.

    A misspelled state is an error for type checkers. To test a state that AWS may add later, pass a
    `BackupState`, such as ``BackupState("ARCHIVED")``.
    """

    backup_id: str
    backup_arn: str | None
    backup_state: BackupState | StateName | None
    cluster_id: str | None
    create_timestamp: datetime | None
    copy_timestamp: datetime | None
    never_expires: bool | None
    source_region: str | None
    source_backup: str | None
    source_cluster: str | None
    delete_timestamp: datetime | None
    tag_list: Iterable[Tag | Mapping[str, str]]
    hsm_type: str | None
    mode: Mode | ModeName | None


def new_id(kind: str) -> str:
    """Return a new ID as AWS creates them: ``backup-`` or ``cluster-`` and eleven characters."""
    # The random module would repeat IDs, because tests seed it.
    return f"{kind}-" + "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(11))


def make_backup(
    fields: BackupFields, *, now: datetime, region: str = REGION, account: str = ACCOUNT
) -> Backup:
    """Create a backup with every field that AWS sets for its state. ``fields`` override the defaults."""
    unknown = sorted(set(fields) - set(Backup.model_fields))
    if unknown:
        raise TypeError(
            f"a backup has no field {', '.join(unknown)}; it has {', '.join(Backup.model_fields)}"
        )
    backup_id = fields.get("backup_id") or new_id("backup")
    defaults: dict[str, Any] = {
        "backup_id": backup_id,
        "backup_arn": f"arn:aws:cloudhsm:{region}:{account}:backup/{backup_id}",
        "backup_state": BackupState.READY,
        "cluster_id": "cluster-a2b3c4d5e6f",
        # Long ago, so that a retention policy would delete the backup again.
        "create_timestamp": datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
        "never_expires": False,
        "tag_list": (),
        "hsm_type": "hsm1.medium",
        "mode": Mode.FIPS,
    }
    if fields.get("backup_state") == BackupState.PENDING_DELETION:
        defaults["delete_timestamp"] = now + RECOVERY_WINDOW
    # None removes a field, as AWS omits it. Backup itself has None for a field that is absent.
    given = {key: value for key, value in (defaults | dict(fields)).items() if value is not None}
    return Backup.model_validate(given)


def in_boto3_shape(backup: Backup) -> dict[str, Any]:
    """Return the backup as the dict that boto3 returns: plain strings and lists, and no empty members."""
    shape = backup.model_dump(by_alias=True, exclude_unset=True)
    for key, value in shape.items():
        if isinstance(value, StrEnum):
            shape[key] = value.value
        elif key == "TagList":
            shape[key] = list(value)
    return shape


def backup_response(**fields: Unpack[BackupFields]) -> "RestoreBackupResponseTypeDef":
    """Return a valid response to RestoreBackup, in the shape in which boto3 returns it.

    Use it with botocore's ``Stubber``, or to create a `Backup`. Without arguments, the backup is READY and
    has a new ID. A backup in PENDING_DELETION has a ``DeleteTimestamp`` 7 days ahead.
    """
    return {
        "Backup": in_boto3_shape(make_backup(fields, now=datetime.now(UTC))),  # type: ignore[typeddict-item]
        "ResponseMetadata": {
            "RequestId": "00000000-0000-4000-8000-000000000000",
            "HTTPStatusCode": 200,
            "HTTPHeaders": {},
            "RetryAttempts": 0,
        },
    }

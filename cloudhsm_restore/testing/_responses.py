"""Backups and responses with sensible defaults."""

import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from ..models import Backup, BackupState, Mode, Tag

if TYPE_CHECKING:
    from mypy_boto3_cloudhsmv2.type_defs import RestoreBackupResponseTypeDef

REGION, ACCOUNT = "us-east-1", "111122223333"
HELD_FOR = timedelta(days=7)


class BackupFields(TypedDict, total=False):
    """The fields of a `Backup` by keyword. None leaves out one that has a default."""

    backup_id: str
    backup_arn: str | None
    backup_state: BackupState | str | None
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
    mode: Mode | str | None


def new_id(kind: str) -> str:
    """A new ID as AWS makes them: ``backup-`` or ``cluster-`` and eleven characters."""
    # Not from the random module, which a test may have seeded: two backups never share an ID.
    return f"{kind}-" + "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(11))


def make_backup(
    fields: BackupFields, *, now: datetime, region: str = REGION, account: str = ACCOUNT
) -> Backup:
    """A backup with every field that AWS gives one of its kind; ``fields`` come before the defaults."""
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
        "create_timestamp": datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
        "never_expires": False,
        "tag_list": (),
        "hsm_type": "hsm1.medium",
        "mode": Mode.FIPS,
    }
    if fields.get("backup_state") == BackupState.PENDING_DELETION:
        defaults["delete_timestamp"] = now + HELD_FOR
    given = {key: value for key, value in (defaults | dict(fields)).items() if value is not None}
    return Backup.model_validate(given)


def in_boto3_shape(backup: Backup) -> dict[str, Any]:
    """The dict in which boto3 returns this backup: plain strings and lists, absent where there is nothing."""
    shape = backup.model_dump(by_alias=True, exclude_unset=True)
    for key, value in shape.items():
        if isinstance(value, StrEnum):
            shape[key] = value.value
        elif key == "TagList":
            shape[key] = list(value)
    return shape


def backup_response(**fields: Unpack[BackupFields]) -> "RestoreBackupResponseTypeDef":
    """A valid response to RestoreBackup, in the shape in which boto3 returns it.

    For botocore's ``Stubber``, or to make a `Backup` from. Without arguments the backup is READY and has a
    new ID; one that is PENDING_DELETION has a ``DeleteTimestamp`` 7 days ahead.
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

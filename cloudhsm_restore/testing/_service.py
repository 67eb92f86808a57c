"""The service itself: its backups, its clock, and one method for each AWS operation."""

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from ..models import Backup, BackupState
from ._boto3 import load_models
from ._responses import RECOVERY_WINDOW

_PAGE = 50


class RejectedError(Exception):
    """A request is rejected with an AWS error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code, self.message = code, message


class Backups:
    """The backups of one account in one region. Not thread-safe by itself."""

    def __init__(self) -> None:
        self.clock_offset = timedelta()
        self.current: dict[str, Backup] = {}
        self.previous: dict[str, Backup] = {}  # Each backup before its last change, for Fault.STALE.

    def clock(self) -> datetime:
        return datetime.now(UTC) + self.clock_offset

    def advance(self, time: timedelta) -> None:
        offset = self.clock_offset + time
        _ = datetime.now(UTC) + offset + RECOVERY_WINDOW  # raises OverflowError if that time does not exist
        self.clock_offset = offset

    def put(self, backup: Backup) -> Backup:
        self.previous[backup.backup_id] = self.current.get(backup.backup_id, backup)
        self.current[backup.backup_id] = backup
        return backup

    def change(self, backup_id: str, /, **fields: object) -> Backup:
        return self.put(Backup.model_validate(self.current[backup_id].model_dump() | fields))

    def purge(self, backup_ids: Iterable[str]) -> None:
        """Delete permanently the backups that have been pending deletion for 7 days."""
        # This runs when a backup is needed, so that no timer has to watch a clock that tests move.
        now = self.clock()
        for backup in [self.current[backup_id] for backup_id in backup_ids if backup_id in self.current]:
            if backup.is_restorable and backup.delete_timestamp and backup.delete_timestamp <= now:
                self.change(backup.backup_id, backup_state=BackupState.DELETED)

    def delete_backup(self, request: Mapping[str, Any]) -> dict[str, Any]:
        backup = self._in_state(request, BackupState.READY)
        pending, until = BackupState.PENDING_DELETION, self.clock() + RECOVERY_WINDOW
        return _described(self.change(backup.backup_id, backup_state=pending, delete_timestamp=until))

    def restore_backup(self, request: Mapping[str, Any]) -> dict[str, Any]:
        # Not idempotent: the live service rejects a backup that is READY already (CloudHSM API reference).
        backup = self._in_state(request, BackupState.PENDING_DELETION)
        ready = BackupState.READY
        return _described(self.change(backup.backup_id, backup_state=ready, delete_timestamp=None))

    def modify_backup_attributes(self, request: Mapping[str, Any]) -> dict[str, Any]:
        backup = self._in_state(request, BackupState.READY)
        return _described(self.change(backup.backup_id, never_expires=request["NeverExpires"]))

    def describe_backups(self, request: Mapping[str, Any], *, stale: bool = False) -> dict[str, Any]:
        self.purge(list(self.current))
        ascending = bool(request.get("SortAscending"))
        chosen = sorted(
            _filtered(self.previous if stale else self.current, request.get("Filters", {})),
            key=_position,
            reverse=not ascending,
        )
        if request.get("Shared"):
            chosen = []  # no other account shares a backup with this one
        size: int = request.get("MaxResults", _PAGE)
        # botocore's validator accepts a bool as an integer.
        if isinstance(size, bool) or not 1 <= size <= _PAGE:
            raise _invalid(f"MaxResults must be between 1 and {_PAGE}.")
        if request.get("NextToken"):
            # A position and not an offset, so that a backup that leaves the list moves no other one.
            end = _after(request["NextToken"])
            chosen = [
                each for each in chosen if (_position(each) > end if ascending else _position(each) < end)
            ]
        page = [_described(backup)["Backup"] for backup in chosen[:size]]
        return {"Backups": page} | ({"NextToken": _token(chosen[size - 1])} if len(chosen) > size else {})

    def _in_state(self, request: Mapping[str, Any], state: BackupState) -> Backup:
        backup_id: str = request["BackupId"]
        self.purge([backup_id])
        backup = self.current.get(backup_id)
        if backup is None:
            raise RejectedError("CloudHsmResourceNotFoundException", f"Backup {backup_id} does not exist.")
        if backup.backup_state != state:
            raise _invalid(f"Backup {backup_id} is in state {backup.backup_state} and not in {state}.")
        return backup


def _invalid(message: str) -> RejectedError:
    return RejectedError("CloudHsmInvalidRequestException", message)


def _described(backup: Backup) -> dict[str, Any]:
    return {"Backup": backup.model_dump(by_alias=True, exclude_none=True)}


_FILTERS: Final[Mapping[str, Callable[[Backup], str | None]]] = {
    "backupIds": lambda backup: backup.backup_id,
    "clusterIds": lambda backup: backup.cluster_id,
    "sourceBackupIds": lambda backup: backup.source_backup,
    "states": lambda backup: backup.backup_state,
    "neverExpires": lambda backup: str(bool(backup.never_expires)).lower(),
}


def _filtered(backups: Mapping[str, Backup], filters: Mapping[str, list[str]]) -> Iterator[Backup]:
    wanted: dict[str, list[str]] = {}
    for name, values in filters.items():
        if name not in _FILTERS:
            raise _invalid(f"Filter {name} is not valid.")
        wanted[name] = values[:1] if name == "states" else values  # as the live service
    return (
        backup
        for backup in backups.values()
        if all(_FILTERS[name](backup) in values for name, values in wanted.items())
    )


def _position(backup: Backup) -> tuple[float, str]:
    return (backup.create_timestamp.timestamp() if backup.create_timestamp else 0.0, backup.backup_id)


def _token(backup: Backup) -> str:
    return base64.urlsafe_b64encode(json.dumps(_position(backup)).encode()).decode()


def _after(token: str) -> tuple[float, str]:
    """Return the position where a page ended. The backup there may have left the list since."""
    try:
        created, backup_id = json.loads(base64.urlsafe_b64decode(token))
        return float(created), str(backup_id)
    except (ValueError, TypeError):
        raise _invalid("NextToken is not valid.") from None


OPERATIONS: Final[Mapping[str, Callable[[Backups, Mapping[str, Any]], dict[str, Any]]]] = {
    "DeleteBackup": Backups.delete_backup,
    "DescribeBackups": Backups.describe_backups,
    "ModifyBackupAttributes": Backups.modify_backup_attributes,
    "RestoreBackup": Backups.restore_backup,
}
"""The operations of the service by their AWS names."""


@cache
def _input_shape(operation: str) -> Any:
    from botocore.model import ServiceModel

    model = ServiceModel(load_models().load_service_model("cloudhsmv2", "service-2"), "cloudhsmv2")
    return model.operation_model(operation).input_shape


def validated(operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Validate a request against the service model, and return it without unknown members."""
    from botocore.validate import ParamValidator

    shape = _input_shape(operation)
    known = {name: value for name, value in request.items() if name in shape.members and value is not None}
    report = ParamValidator().validate(known, shape)
    if report.has_errors():
        raise _invalid(report.generate_report())
    return known

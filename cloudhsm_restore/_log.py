"""The logger of this library, and the one function that uses it."""

import logging
import re
import traceback
from contextlib import suppress
from typing import Any, Final

from ._redaction import PATTERNS_ONLY, printable
from .models import BackupState

logger: Final = logging.getLogger("cloudhsm_restore")
logger.addHandler(logging.NullHandler())


def log(level: int, message: str, *, operation: str | None, backup_id: str | None, **fields: Any) -> None:
    """Log one line. Whatever a handler, a filter, or a record factory raises does not reach the caller.

    Args:
        level: a level of the logging module.
        message: the text. It may contain what the service sent.
        operation: the AWS operation.
        backup_id: the ID of the backup.
        **fields: more fields of the record, such as ``backup_state`` and ``request_id``.
    """
    if not logger.isEnabledFor(level):
        return
    fields = {
        "operation": operation,
        "backup_id": backup_id,
        "backup_state": None,
        "request_id": None,
    } | fields
    try:
        # The prefix is one that no application uses: logging raises KeyError for a name that a record has.
        extra = {
            f"cloudhsm_{name}": _clean(value) if type(value) is str else value
            for name, value in fields.items()
        }
        logger.log(level, "%s", _clean(f"{operation} {backup_id}: {message}"), extra=extra)
    except Exception:  # noqa: BLE001 (an application's logging can raise anything)
        # The logging module does the same if a handler fails.
        if logging.raiseExceptions:
            with suppress(Exception):  # Standard error may be closed, or its disk full.
                traceback.print_exc()


def _clean(text: str) -> str:
    return printable(PATTERNS_ONLY.text(text))


def state_name(state: BackupState | str | None) -> str:
    """Return a state to show. The service can send any string, but the names of states are in capitals."""
    if state is None:
        return "missing"
    name = str(state)
    return name if re.fullmatch("[A-Z_]{1,40}", name) else "not a valid state"

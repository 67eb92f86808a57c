"""Check the arguments of the clients, before anything is sent; say what is wrong with a value."""

import math
import sys
from collections.abc import Callable, Iterable
from inspect import iscoroutinefunction
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit

from pydantic import ValidationError

from ._redaction import Masker, url_secrets
from .exceptions import ParameterError
from .models import Backup, BackupState

DEFAULT_TIMEOUT: Final = 300.0
"""Seconds that `ensure_restored` may take."""
DEFAULT_MAX_WORKERS: Final = 8
"""How many restores run at the same time."""
_MAX_PROBLEMS: Final = 20  # Describing a problem takes pydantic ten times as long as parsing its value.


def check_backup_id(backup_id: object, operation: str | None = None) -> str:
    """Return ``backup_id`` if it is plausible. The service decides whether it exists.

    Raises:
        ParameterError: it is not a string, empty, an ARN, or has white space around it.
    """
    if not isinstance(backup_id, str):
        hint = "; use its backup_id" if isinstance(backup_id, Backup) else ""
        problem = f"backup_id must be a string such as 'backup-...', not {type(backup_id).__name__}{hint}"
        raise ParameterError(problem, operation=operation)
    stripped = backup_id.strip()
    if not stripped:
        problem = "backup_id is empty; expected an ID such as 'backup-...'"
    elif stripped.startswith("arn:"):
        last = stripped.rpartition("/")[2]
        hint = f"; use {last!r}" if last.startswith("backup-") else ""
        problem = f"backup_id must be the ID of a backup, not its ARN{hint}"
    elif backup_id != stripped:
        problem = f"backup_id has leading or trailing whitespace; use {stripped!r}"
    else:
        return backup_id
    raise ParameterError(problem, operation=operation, backup_id=backup_id)


def describe_requests(
    states: object, cluster_ids: object, backup_ids: object, source_backup_ids: object, never_expires: object
) -> list[dict[str, Any]]:
    """Return the parameters of the DescribeBackups calls for these filters: one call for each state.

    The live service honors only one state per call, although ``states`` is a list (Cloud Custodian, pull
    request 9721).
    """
    _check_never_expires(never_expires, "DescribeBackups")
    filters = {
        "clusterIds": _check_strings("cluster_ids", cluster_ids),
        "backupIds": _check_strings("backup_ids", backup_ids),
        "sourceBackupIds": _check_strings("source_backup_ids", source_backup_ids),
        "neverExpires": [] if never_expires is None else [str(never_expires).lower()],
    }
    filters = {key: values for key, values in filters.items() if values}
    chosen = dict.fromkeys(_check_strings("states", states))
    for state in chosen:
        # A misspelled state would match nothing, and an empty list would look like a true report.
        if not isinstance(state, BackupState) and state not in list(BackupState):
            shown, known = _short_repr(state), ", ".join(BackupState)
            hint = f"For a state that AWS added later, pass BackupState({shown})"
            raise _parameter_error(f"states contains unknown state {shown}; expected one of {known}. {hint}")
    requests = [filters | {"states": [str(state)]} for state in chosen] or [filters]
    return [{"Filters": request} if request else {} for request in requests]


def _check_strings(name: str, values: object) -> list[str]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise _parameter_error(
            f"{name} must be an iterable of strings, such as a list, not {_short_repr(values)}"
        )
    strings: list[str] = []
    for value in cast("Iterable[object]", values):
        if not isinstance(value, str) or not value.strip():
            raise _parameter_error(f"{name} must contain non-empty strings, not {_short_repr(value)}")
        strings.append(value)
    return strings


def _short_repr(value: object) -> str:
    try:
        return repr(value)[:40]
    except Exception:  # noqa: BLE001 (for example, an integer of more than 4,300 digits)
        return type(value).__name__


def _parameter_error(problem: str) -> ParameterError:
    return ParameterError(problem, operation="DescribeBackups")


class TypedClient(Protocol):
    """boto3's ``cloudhsmv2`` client, whichever package types it: mypy-boto3, types-boto3, or boto3-stubs."""

    @property
    def meta(self) -> Any: ...

    @property
    def restore_backup(self) -> Callable[..., Any]: ...

    @property
    def describe_backups(self) -> Callable[..., Any]: ...

    @property
    def modify_backup_attributes(self) -> Callable[..., Any]: ...


class UntypedClient(Protocol):
    """What type checkers make of ``boto3.client()`` without stubs: an object that may have any method."""

    @property
    def meta(self) -> Any: ...

    def __getattr__(self, item: str, /) -> Any: ...


AnyClient = TypedClient | UntypedClient


def check_client(client: object, *options: object) -> Any:
    """Return ``client``, or raise `TypeError` if it cannot be used or if other arguments conflict with it."""
    if any(option is not None for option in options):
        raise TypeError("pass either client, or session, region_name, endpoint_url, and config, but not both")
    if not hasattr(client, "restore_backup") or iscoroutinefunction(getattr(client, "close", None)):
        raise TypeError(f"client must be a boto3 cloudhsmv2 client, not {type(client).__name__}")
    return client


def check_session(session: object) -> None:
    """Raise `TypeError` if ``session`` is not a session, for example the name of a profile."""
    if session is not None and not hasattr(session, "client"):
        hint = "to use a profile, pass boto3.Session(profile_name=...)"
        raise TypeError(f"session must be a boto3.Session, not {_short_repr(session)}; {hint}")


def connection_limit(client: object) -> int:
    """Return how many connections a client keeps: any number if its pool has no limit (0, for urllib3)."""
    size = getattr(getattr(getattr(client, "meta", None), "config", None), "max_pool_connections", None)
    return (size if size > 0 else sys.maxsize) if isinstance(size, int) else 10  # botocore's default


def endpoint_problem(endpoint_url: str) -> str | None:
    """Return what is wrong with the port of a URL, if anything. botocore would notice only when it signs."""
    try:
        _ = urlsplit(endpoint_url).port
    except ValueError:  # Its message quotes what it took for a port, perhaps a password.
        masked = Masker(url_secrets(None, endpoint_url)).text(endpoint_url)
        return f"endpoint_url {masked!r} has an invalid port"
    return None


def check_options(never_expires: object, timeout: object) -> None:
    """Raise `ParameterError` for invalid options of a restore."""
    _check_never_expires(never_expires)
    if (
        isinstance(timeout, bool)
        or not isinstance(timeout, int | float)
        or not (0 <= timeout <= sys.float_info.max or timeout == math.inf)
    ):
        raise ParameterError(f"timeout must be a number of seconds, 0 or more, not {_short_repr(timeout)}")


def _check_never_expires(value: object, operation: str | None = None) -> None:
    if not isinstance(value, bool | None):
        problem = f"never_expires must be True, False, or None, not {_short_repr(value)}"
        raise ParameterError(problem, operation=operation)


def check_batch(backup_ids: object, max_workers: object, *types: type[object]) -> None:
    """Raise `ParameterError` for invalid arguments of ``restore_backups`` other than a single ID."""
    if isinstance(max_workers, bool) or not isinstance(max_workers, int) or max_workers < 1:
        raise ParameterError(f"max_workers must be an integer of at least 1, not {_short_repr(max_workers)}")
    if isinstance(backup_ids, str | bytes) or not isinstance(backup_ids, types):
        raise ParameterError(
            f"backup_ids must be an iterable of IDs, such as a list, not {_short_repr(backup_ids)}"
        )


def validation_problems(error: ValidationError) -> str:
    """Return what is wrong with a value; of many problems only their number."""
    if error.error_count() > _MAX_PROBLEMS:
        return f"{error.error_count()} problems"
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())

"""What may be given to the clients: each argument is checked here, before anything is sent."""

import math
import sys
from collections.abc import Iterable
from inspect import iscoroutinefunction
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from ._secrets import redacted
from .exceptions import ConfigurationError, ParameterError
from .models import Backup, BackupState


def check_backup_id(backup_id: object, operation: str) -> str:
    """``backup_id`` itself if it can be one. Whether it is one, the service decides."""
    if not isinstance(backup_id, str):
        hint = ": use its backup_id" if isinstance(backup_id, Backup) else ""
        wrong = f"backup_id must be a string such as 'backup-...', not {type(backup_id).__name__}{hint}"
        raise ParameterError(wrong, operation=operation)
    if not backup_id.strip():
        wrong = "backup_id must be the ID of a backup such as 'backup-...', and it is empty"
    elif backup_id.strip().startswith("arn:"):
        last = backup_id.strip().rpartition("/")[2]
        use = f": use {last!r}" if last.startswith("backup-") else ""
        wrong = f"backup_id must be the ID of a backup, not its ARN{use}"
    elif backup_id != backup_id.strip():
        wrong = f"backup_id has white space around it: use {backup_id.strip()!r}"
    else:
        return backup_id
    raise ParameterError(wrong, operation=operation, backup_id=backup_id)


def describe_requests(
    *,
    states: Iterable[str] = (),
    cluster_ids: Iterable[str] = (),
    backup_ids: Iterable[str] = (),
    source_backup_ids: Iterable[str] = (),
    never_expires: object = None,
) -> list[dict[str, Any]]:
    """The parameters of the DescribeBackups calls that these filters take: one for each state.

    The live service honours one state per call, although ``states`` is a list (Cloud Custodian, pull
    request 9721).
    """
    if not isinstance(never_expires, bool | None):
        raise _parameter_error(f"never_expires must be True, False or None, not {_shown(never_expires)}")
    filters = {
        "clusterIds": _strings("cluster_ids", cluster_ids),
        "backupIds": _strings("backup_ids", backup_ids),
        "sourceBackupIds": _strings("source_backup_ids", source_backup_ids),
        "neverExpires": [] if never_expires is None else [str(never_expires).lower()],
    }
    filters = {key: values for key, values in filters.items() if values}
    # Misspelt, a state would find nothing: no true answer on the day when a backup has to be found.
    chosen = dict.fromkeys(_strings("states", states, known=tuple(BackupState)))
    requests = [filters | {"states": [state]} for state in chosen]
    return [{"Filters": request} if request else {} for request in requests or [filters]]


def _strings(name: str, values: object, known: tuple[BackupState, ...] = ()) -> list[str]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise _parameter_error(f"{name} must be several strings, such as a list, not {_shown(values)}")
    strings: list[str] = []
    for value in cast("Iterable[object]", values):  # an Iterable says nothing of what is in it
        if not isinstance(value, str) or not value.strip():
            raise _parameter_error(f"{name} must hold strings that are not empty, not {_shown(value)}")
        if known and value not in known and not isinstance(value, BackupState):
            new = f"for one that AWS added later give BackupState({_shown(value)})"
            raise _parameter_error(
                f"{name} holds {_shown(value)}, which is none of {', '.join(known)}; {new}"
            )
        strings.append(str(value))
    return strings


def _shown(value: object) -> str:
    try:
        return repr(value)[:40]
    except ValueError:  # an integer of thousands of digits
        return type(value).__name__


def _parameter_error(what: str) -> ParameterError:
    return ParameterError(what, operation="DescribeBackups")


class UntypedClient(Protocol):
    """What pyright makes of ``boto3.client()`` without boto3-stubs: anything may be a method."""

    @property
    def meta(self) -> Any: ...

    def __getattr__(self, item: str, /) -> Any: ...


def check_client(client: object, *others: object, asynchronous: bool) -> Any:
    """``client``, if it can be the client to wrap and nothing is given that it has already; or raise."""
    if any(other is not None for other in others):
        raise TypeError("client is complete: give either it or session, region_name, endpoint_url and config")
    library = "an aiobotocore" if asynchronous else "a boto3"
    if (
        not hasattr(client, "restore_backup")
        or iscoroutinefunction(getattr(client, "close", None)) is not asynchronous
    ):
        raise TypeError(f"client must be {library} cloudhsmv2 client, not {type(client).__name__}")
    return client


def check_session(session: object, method: str) -> None:
    """Raise for what is no session, a profile's name for one."""
    if session is not None and not hasattr(session, method):
        raise TypeError(
            f"session must be a session, not {_shown(session)}; a profile is boto3.Session(profile_name=...)"
        )


def pool_size(client: object) -> int:
    """How many connections a client keeps."""
    size = getattr(getattr(getattr(client, "meta", None), "config", None), "max_pool_connections", None)
    return size if isinstance(size, int) else 10


def check_endpoint(endpoint_url: str) -> None:
    """Raise for a port that botocore would trip over only later, while it signs a request."""
    try:
        _ = urlsplit(endpoint_url).port
    except ValueError:  # which quotes what it took for a port, a password perhaps
        what = f"endpoint_url {redacted(endpoint_url)!r} has a port that cannot be one"
        raise ConfigurationError(what) from None


def check_options(never_expires: object, timeout: object) -> None:
    """Raise for options of a restore that cannot be used."""
    if not isinstance(never_expires, bool | None):
        raise ParameterError(f"never_expires must be True, False or None, not {_shown(never_expires)}")
    if (
        isinstance(timeout, bool)
        or not isinstance(timeout, int | float)
        or not (0 <= timeout <= sys.float_info.max or timeout == math.inf)
    ):
        raise ParameterError(f"timeout must be a number of seconds, 0 or more, not {_shown(timeout)}")


def check_many(backup_ids: object, max_workers: object, *kinds: type[object]) -> None:
    """Raise for arguments of ``restore_backups`` that no backup ID can make good."""
    if isinstance(max_workers, bool) or not isinstance(max_workers, int) or max_workers < 1:
        raise ParameterError(f"max_workers must be a whole number, 1 or more, not {_shown(max_workers)}")
    if isinstance(backup_ids, str | bytes) or not isinstance(backup_ids, kinds):
        raise ParameterError(f"backup_ids must be several IDs, such as a list, not {_shown(backup_ids)}")

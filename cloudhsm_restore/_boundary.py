"""The only place that reads botocore's results and failures.

Every call that a client makes runs inside a `Call`::

    with Call("RestoreBackup", backup_id) as call:
        return call.backup(client.restore_backup(BackupId=backup_id))

A result leaves as a `Backup`, a failure as one `RestoreError` with botocore's own as its cause. What is
no failure of a call (KeyboardInterrupt, a misused Stubber, a bug) passes untouched.

Doubt. botocore tries several times within one call and reports only the last try. Its event
``response-received`` is emitted once per try: `watch` listens to it, and the `Call` that is under way
remembers whether any try may have restored the backup without an answer that says so.
"""

import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from inspect import iscoroutinefunction
from itertools import pairwise
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, Self, TypeGuard, cast
from urllib.parse import urlsplit

import botocore.exceptions as boto
from pydantic import ValidationError

from ._version import __version__
from .exceptions import (
    ApiError,
    ConfigurationError,
    ConnectError,
    ConnectionLostError,
    InternalFailureError,
    ParameterError,
    ResourceNotFoundError,
    ResponseTimeoutError,
    RestoreError,
    TransportError,
    UnexpectedResponseError,
    one_line,
)
from .models import Backup

if TYPE_CHECKING:
    from botocore.config import Config


logger: Final = logging.getLogger("cloudhsm_restore")
logger.addHandler(logging.NullHandler())

Operation = Literal["RestoreBackup", "DescribeBackups", "ModifyBackupAttributes"]


# --- Tables: what botocore raises, and what it is here. The first row that fits counts. ---

_FAILURES: Final[tuple[tuple[type[Exception], type[RestoreError]], ...]] = (
    (boto.ReadTimeoutError, ResponseTimeoutError),
    (boto.ConnectionClosedError, ConnectionLostError),
    (boto.ResponseStreamingError, ConnectionLostError),
    (boto.IncompleteReadError, ConnectionLostError),
    (boto.HTTPClientError, TransportError),
    (boto.ConnectionError, ConnectError),
    (boto.ChecksumError, UnexpectedResponseError),
    (boto.ParamValidationError, ParameterError),
    (boto.BotoCoreError, ConfigurationError),
)

# Of a failed connection botocore says "could not connect" also where it broke after the request was sent, a
# proxy's for one. What was under way tells: these functions, of urllib3, ssl, aiohttp and httpcore, connect,
_CONNECTING: Final = frozenset(
    {
        "_new_conn", "_prepare_proxy", "_tunnel", "ssl_wrap_socket", "do_handshake", "create_connection",
        "_create_direct_connection", "_create_proxy_connection", "_wrap_create_connection",
        "start_connection", "connect_tcp", "start_tls",
    }
)  # fmt: skip
# and these, of botocore, aiobotocore, urllib3, http.client and aiohttp, get ready to send.
_PREPARING: Final = frozenset(
    {
        "connection_from_url", "proxy_url_for", "_get_connection_manager", "_setup_ssl_cert", "_get_session",
        "putheader", "write_headers", "_safe_header", "_serialize_headers", "_py_serialize_headers",
    }
)  # fmt: skip

# What an HTTPClientError is by the name of the exception inside, of aiohttp for one. First row again.
_INSIDE: Final[Mapping[str, type[RestoreError]]] = {
    "RedirectClientError": UnexpectedResponseError,
    "NonHttpUrlClientError": ConfigurationError,
    "UnicodeDecodeError": UnexpectedResponseError,
}

_SERVER_ERROR: Final = 500


@lru_cache(maxsize=256)
def _code_key(code: str) -> str:
    return re.sub(r"^CloudHsm|(Exception|Error)$", "", code)


_API_ERRORS: Final[Mapping[str, type[ApiError]]] = {
    _code_key(code): cls for cls in ApiError.__subclasses__() for code in cls.codes
}


# --- Failures ---


def failure(error: Exception, operation: Operation | None, backup_id: str | None) -> RestoreError | None:
    """Our exception for botocore's; None where it is not ours to translate."""
    if isinstance(error, RestoreError | boto.StubResponseError):
        return None
    if isinstance(error, boto.ClientError):
        if operation is None or error.operation_name != operation:
            return None if _is_the_users(error) else _no_credentials(error, operation, backup_id)
        return api_error(error.response, operation, backup_id)
    cls = _class_of(error, making_a_client=operation is None)
    if cls is None:
        return None
    said = redacted(str(error))
    if cls is UnexpectedResponseError:
        said = f"the answer cannot be read ({type(error).__name__}: {said})"
    return cls(said, operation=operation, backup_id=backup_id)


def api_error(response: Mapping[str, Any], operation: str, backup_id: str | None) -> ApiError:
    """Our exception for an answer that is an error."""
    return _api_error_class(response)(redacted(response), operation, backup_id=backup_id)


def _api_error_class(response: Mapping[str, Any]) -> type[ApiError]:
    error: Mapping[str, Any] = response.get("Error") or {}
    unnamed = InternalFailureError if _has_failed(response) else ApiError
    return _API_ERRORS.get(_code_key(str(error.get("Code") or "")), unnamed)


def _has_failed(response: Mapping[str, Any]) -> bool:
    """Whether the HTTP status says that it is the service's own fault."""
    metadata: Mapping[str, Any] = response.get("ResponseMetadata") or {}
    return (metadata.get("HTTPStatusCode") or 0) >= _SERVER_ERROR


def leaves_doubt(error: RestoreError) -> bool:
    """Whether the service may have done the work although it was asked in a try that ended like this."""
    if isinstance(error, ApiError):
        return isinstance(error, InternalFailureError) or _has_failed(error.response)
    return isinstance(error, TransportError | UnexpectedResponseError) and not isinstance(error, ConnectError)


def _no_credentials(
    error: boto.ClientError, operation: Operation | None, backup_id: str | None
) -> ConfigurationError:
    # Another operation's error within our call is botocore's search for credentials, such as AssumeRole.
    cause = api_error(error.response, error.operation_name, None)
    return ConfigurationError(
        f"no credentials could be had, {error.operation_name} failed with {cause.code}: {cause.message}",
        operation=operation,
        backup_id=backup_id,
        retryable=cause.retryable,
    )


def _class_of(error: Exception, *, making_a_client: bool) -> type[RestoreError] | None:
    if type(error) is boto.HTTPClientError or isinstance(error, boto.ConnectionError):
        return _transport_failure(error)
    for theirs, ours in _FAILURES:
        if isinstance(error, theirs):
            return ours
    # A bare ValueError, KeyError, ... means something only by where in botocore it comes from.
    if _is_the_users(error):
        return None
    modules = [module for module, _ in _frames(error)]
    if making_a_client and any("botocore." in module for module in modules):
        return ConfigurationError
    if any(module.endswith(("botocore.signers", "botocore.credentials")) for module in modules):
        return ConfigurationError
    reading = (
        "botocore.endpoint",
        "botocore.errorfactory",
    )  # the second: which class an error code stands for
    return UnexpectedResponseError if any(module.endswith(reading) for module in modules) else None


def _transport_failure(error: boto.HTTPClientError | boto.ConnectionError) -> type[RestoreError]:
    """Sent or not? Where nothing proves that it was not, it was."""
    links = [link for link in _chain(error) if link is not error]
    functions = {function for link in links for _, function in _frames(link)}
    if functions & _CONNECTING:
        # Before the handshake only a certificate file can fail.
        no_file = "ssl_wrap_socket" in functions and "do_handshake" not in functions
        return ConfigurationError if no_file else ConnectError
    if isinstance(error, boto.ConnectionError):
        return ConnectionLostError if functions else ConnectError
    for name, ours in _INSIDE.items():
        if any(cls.__name__ == name for link in links for cls in type(link).__mro__):
            return ours
    return ConfigurationError if functions & _PREPARING else TransportError


def _is_the_users(error: Exception) -> bool:
    """Whether it comes out of an event handler that is not botocore's."""
    modules = [module for module, _ in _frames(error)]
    below = "botocore."
    for above, module in pairwise(modules):
        if above.endswith(("botocore.hooks", "botocore._helpers")):
            below = module
    return not below.startswith(("botocore.", "aiobotocore."))


def _frames(error: BaseException) -> Iterator[tuple[str, str]]:
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        yield str(frame.f_globals.get("__name__")), frame.f_code.co_name
        traceback = traceback.tb_next


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and all that it says it came from.

    Not its ``__context__``, which may be what the caller was just handling when it called us.
    """
    return _linked(
        error, set(), lambda link: (link.__cause__, getattr(link, "kwargs", {}).get("error"), *link.args)
    )


def _shown(error: BaseException, handled: BaseException | None) -> Iterator[BaseException]:
    """All whose text a traceback of the exception shows, but for what was handled before the call."""
    return _linked(error, {id(handled)}, lambda link: (link.__cause__, link.__context__))


def _linked(
    error: BaseException, seen: set[int], links: Callable[[BaseException], tuple[object, ...]]
) -> Iterator[BaseException]:
    waiting: list[object] = [error]
    while waiting:
        link = waiting.pop()
        if isinstance(link, BaseException) and id(link) not in seen:
            seen.add(id(link))
            yield link
            waiting += links(link)


# --- Results ---


_DICTS: Final = (dict, Mapping)  # the first is by far the faster to tell


def _is_dict(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, _DICTS)


def parse_backup(raw: object) -> Backup:
    """A ``Backup`` from boto3's dict of one; ``ValueError`` says what is wrong with it."""
    if not _is_dict(raw):
        raise ValueError("there is no backup in it")
    try:
        return Backup.model_validate(raw)
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ValueError(f"its backup is malformed ({'; '.join(wrong)})") from error


class Call:
    """One operation, asked of botocore once. Both clients run their I/O inside of it."""

    __slots__ = ("_doubt", "_handled", "_outer", "_tries", "backup_id", "operation")

    def __init__(self, operation: Operation | None, backup_id: str | None = None) -> None:
        self.operation: Final = operation
        self.backup_id: Final = backup_id
        self._doubt = False
        self._tries = 0

    def __enter__(self) -> Self:
        self._handled = sys.exception()
        self._outer = _under_way.get()
        _under_way.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # No token: a coroutine that nobody finishes is closed in whatever context comes along.
        if _under_way.get() is self:
            _under_way.set(self._outer)
        if error is None:
            return
        if not isinstance(error, Exception):
            if self.operation == "RestoreBackup":
                _log(logging.WARNING, self, f"interrupted by {type(error).__name__}, its outcome is unknown")
            return
        ours = failure(error, self.operation, self.backup_id)
        if ours is None:
            return
        if self.operation == "RestoreBackup":
            # A try that the event did not show (another transport, a mock) is one that we know nothing of.
            unseen = isinstance(ours, ApiError) and ours.attempts > max(self._tries, 1)
            ours.outcome_unknown = self._doubt or unseen or leaves_doubt(ours)
        for link in {*_chain(error), *_shown(error, self._handled)}:
            _redact(link, ours if link is error else None)
        try:
            raise ours from error
        finally:
            del ours, error  # a cycle through this frame would keep the connection until the next collection

    def tried(self, parsed_response: object, exception: Exception | None) -> None:
        """Take note of one of botocore's tries; `watch` sees to it that this is called for each."""
        self._tries += 1
        # Only a plain refusal leaves no doubt; a success is in doubt until the call as a whole returns it.
        doubt = True
        if exception is not None:
            error = failure(exception, self.operation, self.backup_id)
            doubt = error is None or leaves_doubt(error)
        elif _is_dict(parsed_response) and "Error" in parsed_response:
            refusal = _api_error_class(parsed_response)
            doubt = issubclass(refusal, InternalFailureError) or _has_failed(parsed_response)
        self._doubt = self._doubt or doubt

    def backup(self, response: object) -> Backup:
        """The ``Backup`` in an answer to RestoreBackup or ModifyBackupAttributes."""
        try:
            backup = parse_backup(response.get("Backup") if _is_dict(response) else None)
        except ValueError as error:
            raise self._unexpected(str(error), response) from error.__cause__
        if backup.backup_id != self.backup_id:
            raise self._unexpected(f"it is about another backup, {backup.backup_id}", response)
        if self.operation == "RestoreBackup":
            _log(logging.INFO, self, str(backup.backup_state), backup, response)
        return backup

    def page(self, response: object, tokens: set[str]) -> tuple[list[Backup], str | None]:
        """The backups of one answer to DescribeBackups, and the token of the next page, new to ``tokens``."""
        found: Mapping[str, Any] = response if _is_dict(response) else {}
        raw: Any = found.get("Backups")
        token: Any = found.get("NextToken")
        if not isinstance(raw, list):
            raise self._unexpected("there is no list of backups in it", response)
        if not isinstance(token, str | None) or token in tokens:
            raise self._unexpected("its NextToken leads nowhere", response)
        if token:
            tokens.add(token)
        try:
            return [parse_backup(item) for item in cast("list[object]", raw)], token or None
        except ValueError as error:
            raise self._unexpected(str(error), response) from error.__cause__

    def _unexpected(self, what: str, response: object) -> UnexpectedResponseError:
        return UnexpectedResponseError(
            f"the answer cannot be used: {redacted(what)}",
            response=redacted(response),
            operation=self.operation,
            backup_id=self.backup_id,
            outcome_unknown=self.operation == "RestoreBackup",
        )


def _request_id(response: object) -> str | None:
    metadata = response.get("ResponseMetadata") if _is_dict(response) else None
    return metadata.get("RequestId") if _is_dict(metadata) else None


def _log(level: int, call: Call, what: str, backup: Backup | None = None, response: object = None) -> None:
    if logger.isEnabledFor(level):
        request_id = _request_id(response)
        said = f"{call.operation} {call.backup_id}: {what}"
        logger.log(
            level,
            "%s",
            one_line(redacted(f"{said} (request ID {request_id})" if request_id else said)),
            extra={
                "operation": call.operation,
                "backup_id": call.backup_id,
                "backup_state": backup and backup.backup_state,
                "request_id": request_id,
            },
        )


def absent(backup_id: str, others: int) -> RestoreError:
    """The error where DescribeBackups, asked for one ID, described only ``others`` or none."""
    if others:
        what = f"the answer cannot be used: it describes {others} other backups and not the one asked for"
        return UnexpectedResponseError(what, operation="DescribeBackups", backup_id=backup_id)
    code, message = "CloudHsmResourceNotFoundException", "DescribeBackups found no such backup."
    return ResourceNotFoundError(
        {"Error": {"Code": code, "Message": message}}, "DescribeBackups", backup_id=backup_id
    )


# --- Doubt: every try of the call that is under way in this thread or task ---

_under_way: ContextVar[Call | None] = ContextVar("cloudhsm_restore_call", default=None)


class _Events(Protocol):
    def register_first(self, event_name: str, handler: Any, unique_id: Any = None) -> None: ...


def watch(events: _Events) -> None:
    """Listen to every try of RestoreBackup that a client makes, given its ``meta.events``."""
    events.register_first(
        "response-received.cloudhsm-v2.RestoreBackup", _on_response_received, unique_id="cloudhsm-restore"
    )


def _on_response_received(
    parsed_response: object = None, exception: Exception | None = None, **_: object
) -> None:
    call = _under_way.get()
    if call is not None:
        call.tried(parsed_response, exception)


# --- Secrets ---

_NAMES: Final = (
    r"(?:security|session)[ _-]?token|secret(?:[ _-]?access)?[ _-]?key|password|authorization|signature"
)
# Flags, pattern, mask. They are compiled when the first is needed, which few processes come to.
_SECRETS: Final = (
    (re.NOFLAG, r"(?<=//)[^/\s'\"]+@", "***@"),
    # A password with a character in it that should have been escaped; but host:port/path is none.
    (re.NOFLAG, r"(?<=//)[^/\s:@'\"]*:(?!\d+(?:[/?#\s]|['\"](?![^\s@]*@)|$))[^@\n]*@", "***@"),
    (
        re.NOFLAG,
        r"(Failed to parse: |as integer value: |to integer value as )(?:'[^']*'|\S+)",
        r"\1***",
    ),
    (re.DOTALL, r"(['\"]).*\1(?= does not appear to be an IP)", "***"),  # what stands in brackets in a URL
    (re.DOTALL, r"(Invalid header value )(b?'.*'|b?\".*\")", r"\1***"),
    (
        re.IGNORECASE,
        rf"({_NAMES})(['\"]?\s*[:=>]\s*(?:b?['\"])?)(?:(?:basic|bearer|digest)\s+)?[^\s'\",;&<]+",
        r"\1\2***",
    ),
)
_HINTS: Final = (
    "//",
    "parse",
    "integer",
    "appear",
    "header",
    "token",
    "key",
    "password",
    "authorization",
    "signature",
)
"""None of the patterns fits where there is none of these, and to look for them is faster by far."""


@lru_cache(maxsize=256)
def _is_secret(key: str) -> bool:
    return re.search(_NAMES, key, re.IGNORECASE) is not None


def redacted(value: Any) -> Any:
    """The same value with the secrets in its strings masked.

    They get there when a URL carries a password, when a token that cannot be a header is quoted, and when
    AWS answers a bad signature with the request that it saw, security token included.
    """
    if isinstance(value, str):
        if any(map(value.lower().__contains__, _HINTS)):
            for flags, pattern, mask in _SECRETS:
                value = re.sub(pattern, mask, value, flags=flags)
        return value
    if isinstance(value, bytes):
        return redacted(value.decode("latin-1")).encode("latin-1")
    if _is_dict(value):
        return {
            key: "***" if isinstance(item, str) and _is_secret(str(key)) else redacted(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [redacted(item) for item in cast("list[object]", value)]
    return value


def _redact(error: BaseException, ours: RestoreError | None) -> None:
    """Mask the secrets in what an exception of botocore, or below it, shows and carries."""
    error.args = tuple(redacted(arg) if isinstance(arg, str | bytes) else arg for arg in error.args)
    for name, item in vars(error).items():
        if isinstance(item, str | bytes):
            vars(error)[name] = redacted(item)  # the line of a BadStatusLine, for one
    if isinstance(error, boto.HTTPClientError):
        setattr(error, "request", None)  # it has the headers  # noqa: B010  (its stubs do not know it)
    if isinstance(error, boto.BotoCoreError):
        error.kwargs = redacted({name: item for name, item in error.kwargs.items() if name != "request"})
    elif isinstance(error, boto.ClientError):
        error.response = ours.response if isinstance(ours, ApiError) else redacted(error.response)


# --- Arguments ---


def check_backup_id(backup_id: object, operation: Operation | None) -> str:
    """``backup_id`` itself if it can be one. Whether it is one, the service decides."""
    if not isinstance(backup_id, str):
        hint = ": use its backup_id" if isinstance(backup_id, Backup) else ""
        wrong = f"backup_id must be a string such as 'backup-...', not {type(backup_id).__name__}{hint}"
        raise ParameterError(wrong, operation=operation)
    if not backup_id.strip():
        wrong = "backup_id must be the ID of a backup such as 'backup-...', and it is empty"
    elif backup_id.strip().startswith("arn:"):
        wrong = (
            f"backup_id must be the ID of a backup, not its ARN: use {backup_id.strip().rpartition('/')[2]!r}"
        )
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
        raise _parameter_error(f"never_expires must be True, False or None, not {never_expires!r}")
    filters = {
        "clusterIds": _strings("cluster_ids", cluster_ids),
        "backupIds": _strings("backup_ids", backup_ids),
        "sourceBackupIds": _strings("source_backup_ids", source_backup_ids),
        "neverExpires": [] if never_expires is None else [str(never_expires).lower()],
    }
    filters = {key: values for key, values in filters.items() if values}
    requests = [filters | {"states": [state]} for state in dict.fromkeys(_strings("states", states))]
    return [{"Filters": request} if request else {} for request in requests or [filters]]


def _strings(name: str, values: object) -> list[str]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise _parameter_error(f"{name} must be several strings, such as a list, not {values!r}")
    strings: list[str] = []
    for value in cast("Iterable[object]", values):  # an Iterable says nothing of what is in it
        if not isinstance(value, str) or not value.strip():
            raise _parameter_error(f"{name} must hold strings that are not empty, not {value!r}")
        strings.append(str(value))
    return strings


def _parameter_error(what: str) -> ParameterError:
    return ParameterError(what, operation="DescribeBackups")


class UntypedClient(Protocol):
    """What pyright makes of ``boto3.client()`` without boto3-stubs: anything may be a method."""

    def __getattr__(self, item: str, /) -> Any: ...


def check_client(client: object, *others: object, asynchronous: bool) -> Any:
    """``client``, if it can be the client to wrap and nothing is given that it has already; or raise."""
    if any(other is not None for other in others):
        raise TypeError("client is complete: give either it or session, region_name, endpoint_url and config")
    library = "an aiobotocore" if asynchronous else "a boto3"
    fits = hasattr(client, "restore_backup") and hasattr(client, "meta")
    if not fits or iscoroutinefunction(getattr(client, "close", None)) is not asynchronous:
        raise TypeError(f"client must be {library} cloudhsmv2 client, not {type(client).__name__}")
    return client


def identified(config: "Config | None") -> "Config":
    """``config``, and in the user agent this library's name, so that CloudTrail shows it."""
    from botocore.config import Config

    theirs = config or Config()
    said = getattr(theirs, "user_agent_extra", None)
    name = f"cloudhsm-restore/{__version__}"
    return theirs.merge(Config(user_agent_extra=f"{said} {name}" if said else name))


def pool_size(config: object) -> int:
    """How many connections a client keeps, given its ``meta.config``."""
    return getattr(config, "max_pool_connections", 10)


def check_endpoint(endpoint_url: str) -> None:
    """Raise for a port that botocore would trip over only later, while it signs a request."""
    try:
        _ = urlsplit(endpoint_url).port
    except ValueError:  # which quotes what it took for a port, a password perhaps
        what = f"endpoint_url {redacted(endpoint_url)!r} has a port that cannot be one"
        raise ConfigurationError(what) from None

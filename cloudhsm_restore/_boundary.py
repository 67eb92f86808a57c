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
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from itertools import pairwise
from types import TracebackType
from typing import Any, Final, Literal, Protocol, Self, TypeGuard, cast

import botocore.exceptions as boto
from pydantic import ValidationError

from ._secrets import redacted
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

_TRANSPORT: Final = frozenset(
    {
        "aiobotocore", "aiohappyeyeballs", "aiohttp", "anyio", "asyncio", "botocore", "http", "httpcore",
        "httpx", "socket", "ssl", "urllib3",
    }
)  # fmt: skip
"""Where these functions are; who raises an exception elsewhere says with its class what happened."""

# What an HTTPClientError is by the name of the exception inside, of aiohttp for one. First row again.
_INSIDE: Final[Mapping[str, type[RestoreError]]] = {
    "RedirectClientError": UnexpectedResponseError,
    "NonHttpUrlClientError": ConfigurationError,
    "UnicodeDecodeError": UnexpectedResponseError,
}

_SERVER_ERROR: Final = 500
_SHOWN: Final = 4096  # of a body that is no answer, in bytes


def _code_key(code: str) -> str:
    return code.removeprefix("CloudHsm").removesuffix("Exception").removesuffix("Error")


_API_ERRORS: Final[Mapping[str, type[ApiError]]] = {
    _code_key(code): cls
    for cls in ApiError.__subclasses__()
    if cls.__module__ == ApiError.__module__  # and not an application's own
    for code in cls.codes
}


# --- Failures ---


def failure(error: Exception, operation: Operation | None, backup_id: str | None) -> RestoreError | None:
    """Our exception for botocore's; None where it is not ours to translate."""
    if isinstance(error, RestoreError | boto.StubResponseError):
        return None
    if isinstance(error, boto.ClientError):
        if operation is not None and _names(operation, error.operation_name):
            return api_error(error.response, operation, backup_id)
        if _is_the_users(error):
            return None
        if operation is None or _seeks_credentials(error):
            return _no_credentials(error, operation, backup_id)
        return api_error(error.response, operation, backup_id)
    cls = _class_of(error, making_a_client=operation is None)
    if cls is None:
        return None
    said = redacted(str(error))
    if cls is UnexpectedResponseError:
        said = f"the answer cannot be read ({type(error).__name__}: {said})"
    retryable = None
    if isinstance(error, boto.HTTPClientError | boto.ConnectionError) and _seeks_credentials(error):
        said, retryable = f"no credentials could be had ({said})", True
    return cls(said, operation=operation, backup_id=backup_id, retryable=retryable)


def api_error(response: Mapping[str, Any], operation: str, backup_id: str | None) -> ApiError:
    """Our exception for an answer that is an error."""
    retryable = _has_failed(response) or None
    return _api_error_class(response)(redacted(response), operation, backup_id=backup_id, retryable=retryable)


def _api_error_class(response: Mapping[str, Any]) -> type[ApiError]:
    error: Mapping[str, Any] = response.get("Error") or {}
    unnamed = InternalFailureError if _has_failed(response) else ApiError
    return _API_ERRORS.get(_code_key(str(error.get("Code") or "")), unnamed)


def _has_failed(response: Mapping[str, Any]) -> bool:
    """Whether the HTTP status says that it is the service's own fault."""
    metadata: Mapping[str, Any] = response.get("ResponseMetadata") or {}
    status: object = metadata.get("HTTPStatusCode")
    return isinstance(status, int) and status >= _SERVER_ERROR


def leaves_doubt(error: RestoreError) -> bool:
    """Whether the service may have done the work although it was asked in a try that ended like this."""
    if isinstance(error, ApiError):
        return isinstance(error, InternalFailureError) or _has_failed(error.response)
    return isinstance(error, TransportError | UnexpectedResponseError) and not isinstance(error, ConnectError)


def _no_credentials(
    error: boto.ClientError, operation: Operation | None, backup_id: str | None
) -> ConfigurationError:
    cause = api_error(error.response, error.operation_name, None)
    return ConfigurationError(
        f"no credentials could be had, {error.operation_name} failed with {cause.code}: {cause.message}",
        operation=operation,
        backup_id=backup_id,
        retryable=cause.retryable,
    )


def _class_of(error: Exception, *, making_a_client: bool) -> type[RestoreError] | None:
    if _seeks_credentials(error) and not _is_the_users(error):
        return ConfigurationError
    if type(error) is boto.HTTPClientError or isinstance(error, boto.ConnectionError):
        return _transport_failure(error)
    for theirs, ours in _FAILURES:
        if isinstance(error, theirs):
            return ours
    from botocore.parsers import ResponseParserError  # boto3 imports it with its first client

    if isinstance(error, ResponseParserError):
        return UnexpectedResponseError
    # A bare ValueError, KeyError, ... means something only by where in botocore it comes from.
    if _is_the_users(error):
        return None
    if making_a_client and any("botocore." in module for module, _ in _frames(error)):
        return ConfigurationError
    # The second tells which class an error code stands for.
    reading = _passes(error, "botocore.endpoint", "botocore.errorfactory")
    return UnexpectedResponseError if reading else None


def _transport_failure(error: boto.HTTPClientError | boto.ConnectionError) -> type[RestoreError]:
    """Sent or not? Where nothing proves that it was not, it was."""
    if isinstance(error, boto.ConnectTimeoutError):
        return ConnectError
    links = [link for link in _chain(error) if link is not error]
    functions = {
        function
        for link in links
        for module, function in _frames(link)
        if module.partition(".")[0] in _TRANSPORT
    }
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


def _seeks_credentials(error: Exception) -> bool:
    """Whether it comes out of botocore's search for credentials, which asks other services, such as STS."""
    return _passes(error, "botocore.credentials", "botocore.signers", "botocore.tokens")


def _names(operation: str, name: str) -> bool:
    """Whether this is the operation's name, also as the AWS CLI and as boto3's methods spell it."""
    return name == operation or re.sub("[-_]", "", name).lower() == operation.lower()


def _is_the_users(error: Exception) -> bool:
    """Whether it comes out of an event handler that is not botocore's."""
    modules = [module for module, _ in _frames(error)]
    below = "botocore."
    for above, module in pairwise(modules):
        if above.endswith(("botocore.hooks", "botocore._helpers")):
            below = module
    return not below.startswith(("botocore.", "aiobotocore."))


def _passes(error: BaseException, *modules: str) -> bool:
    """Whether it comes through one of these modules, or through aiobotocore's of that name."""
    return any(module.endswith(modules) for module, _ in _frames(error))


def _frames(error: BaseException) -> Iterator[tuple[str, str]]:
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        yield str(frame.f_globals.get("__name__")), frame.f_code.co_name
        traceback = traceback.tb_next


def _said_to_come_from(link: BaseException) -> tuple[object, ...]:
    return (link.__cause__, getattr(link, "kwargs", {}).get("error"), *link.args)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and all that it says it came from.

    Not its ``__context__``, which may be what the caller was just handling when it called us.
    """
    return _linked(error, set(), _said_to_come_from)


def _shown(error: BaseException, handled: BaseException | None) -> Iterator[BaseException]:
    """The exception and all that a traceback of it shows, but for what the caller was just handling."""
    return _linked(error, {id(handled)}, lambda link: (link.__context__, *_said_to_come_from(link)))


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

    __slots__ = ("_answer", "_doubt", "_handled", "_outer", "_tries", "backup_id", "operation")

    def __init__(self, operation: Operation | None, backup_id: str | None = None) -> None:
        self.operation: Final = operation
        self.backup_id: Final = backup_id
        self._answer: Mapping[str, Any] | None = None
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
        if isinstance(ours, UnexpectedResponseError):
            self._show_answer(ours)
        if self.operation == "RestoreBackup":
            # A try that the event did not show (another transport, a mock) is one that we know nothing of.
            unseen = isinstance(ours, ApiError) and ours.attempts > max(self._tries, 1)
            ours.outcome_unknown = self._doubt or unseen or leaves_doubt(ours)
        for link in _shown(error, self._handled):
            _redact(link, ours if link is error else None)
        try:
            raise ours from error
        finally:
            del ours, error  # a cycle through this frame would keep the connection until the next collection

    def answered(self, answer: Mapping[str, Any]) -> None:
        """Take note of what came over the wire, before botocore reads it; `watch` sees to it."""
        self._answer = answer

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
        error = UnexpectedResponseError(
            f"the answer cannot be used: {redacted(what)}",
            response=redacted(response),
            operation=self.operation,
            backup_id=self.backup_id,
            outcome_unknown=self.operation == "RestoreBackup",
        )
        self._show_answer(error)
        return error

    def _show_answer(self, error: UnexpectedResponseError) -> None:
        if self._answer is None:
            return
        error.body = redacted(self._answer["body"][:_SHOWN].decode(errors="replace"))
        if error.body:
            error.args = (f"{error.args[0]}; it begins with {error.body[:60]!r}",)
        if error.response is None:
            headers = {name.lower(): value for name, value in self._answer["headers"].items()}
            metadata = {
                "RequestId": headers.get("x-amzn-requestid"),
                "HTTPStatusCode": self._answer["status_code"],
                "HTTPHeaders": redacted(headers),
            }
            error.response = {"ResponseMetadata": metadata}


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

    def register_last(self, event_name: str, handler: Any, unique_id: Any = None) -> None: ...


def watch(events: _Events) -> None:
    """Listen to what a client sends and gets, given its ``meta.events``."""
    restoring = "response-received.cloudhsm-v2.RestoreBackup"
    events.register_first(restoring, _on_response_received, unique_id="cloudhsm-restore-tries")
    events.register_first("before-parse.cloudhsm-v2", _on_before_parse, unique_id="cloudhsm-restore-answers")


def _on_response_received(
    parsed_response: object = None, exception: Exception | None = None, **_: object
) -> None:
    call = _under_way.get()
    if call is not None:
        call.tried(parsed_response, exception)


def _on_before_parse(response_dict: Mapping[str, Any], **_: object) -> None:
    call = _under_way.get()
    if call is not None:
        call.answered(response_dict)


def identify(events: _Events) -> None:
    """Add this library's name to the user agent of all that a client sends, so that CloudTrail shows it."""
    # Not by a Config, which is the user's; and last, for botocore itself writes the header so late.
    events.register_last(
        "request-created.cloudhsm-v2", _on_request_created, unique_id="cloudhsm-restore-name"
    )


def _on_request_created(request: Any, **_: object) -> None:
    name = f"cloudhsm-restore/{__version__}"
    request.headers.replace_header("User-Agent", f"{request.headers['User-Agent']} {name}")

"""One API call: its attempts, its response as a `Backup`, its error as a `RestoreError`.

Every call of a boto3 client runs inside a `Call`::

    with Call("RestoreBackup", backup_id, client) as call:
        return call.parse_backup(client.restore_backup(BackupId=backup_id))

A response becomes a `Backup`. An error becomes a `RestoreError` whose ``__cause__`` is botocore's exception.
Other exceptions (KeyboardInterrupt, a misused Stubber, a bug) propagate unchanged.

Unknown outcomes: botocore may make several attempts within one call, but it reports only the last.
`_events.register_handlers` registers handlers for the events that botocore emits for each attempt, in the
thread that sends it. The `Call` that is current in this thread or task thereby knows of each attempt how it
ended. The outcome is unknown if one of them was ambiguous, and also if the events did not reach the `Call`,
because the client is a test double or runs its calls in another thread: what was not observed may have
happened.
"""

import logging
import sys
import threading
from collections.abc import Iterable, Mapping
from contextvars import Context, ContextVar
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self, cast

import botocore.exceptions as boto
from pydantic import ValidationError

from ._backoff import UNLIMITED, Limits
from ._classify import (
    connect_reason,
    error_class,
    may_have_succeeded,
    raised_by_handler,
    raised_resolving_credentials,
    read_error,
    same_operation,
)
from ._log import log, logger, state_name
from ._redaction import Masker, masker_of
from ._validation import validation_problems
from .exceptions import (
    ApiError,
    ConfigurationError,
    ConnectError,
    ParameterError,
    ResourceNotFoundError,
    RestoreError,
    TransportError,
    UnexpectedResponseError,
    is_mapping,
    section,
)
from .models import Backup

Operation = Literal["RestoreBackup", "DescribeBackups", "ModifyBackupAttributes"]

_READ_ONLY: Final = "DescribeBackups"
_OK: Final = 200
_MAX_REQUEST_ID: Final = 64

cancellation: Final[ContextVar[threading.Event | None]] = ContextVar("cloudhsm_restore_cancel", default=None)
"""Set when the calls of this thread are cancelled: nothing more is sent for them."""
current_call: Final[ContextVar["Call | None"]] = ContextVar("cloudhsm_restore_call", default=None)
"""The call that runs in this thread or task. The handlers of botocore's events find it here."""


class CallCancelled(BaseException):
    """Ends a cancelled call. The handlers of botocore's events raise it.

    A BaseException, because botocore catches every Exception around the sending of a request.
    """


class Response(NamedTuple):
    """A response that describes a backup."""

    backup: Backup
    request_id: str | None


class Call:
    """One operation, called once. Use it as a context manager around boto3's method."""

    # What only some calls change is a default here, because a call must cost little.
    in_flight = False
    """Whether an HTTP request was sent and its attempt has not ended."""
    observed = False
    """Whether the events of the client reach this call."""
    _ambiguous = False
    _attempts = 0
    _request: Any = None
    raw_response: dict[str, Any] | None = None
    """The response of the last attempt as botocore received it."""
    _last: tuple[object, Exception | None] = None, None
    _masker: Masker | None = None
    _cause: BaseException | None = None

    def __init__(
        self,
        operation: Operation | None,
        backup_id: str | None = None,
        client: object = None,
        url_secrets: Iterable[str] = (),
        limits: Limits = UNLIMITED,
    ) -> None:
        """Prepare a call; ``operation`` and ``client`` are None while the client is being created."""
        self.operation: Final = operation
        self.backup_id: Final = backup_id
        self._client: Final = client
        self._url_secrets: Final = url_secrets
        self._cancelled: Final = cancellation.get()
        self._limits: Final = limits

    @property
    def _details(self) -> dict[str, Any]:
        return {"operation": self.operation, "backup_id": self.backup_id}

    def __enter__(self) -> Self:
        self._handled = sys.exception()
        self._previous = current_call.get()
        current_call.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Not `ContextVar.reset(token)`: an abandoned generator may be closed in another context, where it
        # raises.
        if current_call.get() is self:
            current_call.set(self._previous)
        if error is None:
            return
        if isinstance(error, CallCancelled):
            # The last attempt ended with this, and botocore would have raised it after its own retries.
            error = self._last[1] or self._client_error()
            if error is None:
                text = "cancelled" if self.in_flight else "cancelled before it was sent"
                unsent = RestoreError(text, **self._details)
                may_be_sent = self._ambiguous or self.in_flight
                unsent.outcome_unknown = may_be_sent and self.operation != _READ_ONLY
                raise unsent from None
        elif not isinstance(error, Exception):
            if self.operation != _READ_ONLY and self.operation is not None:
                message = f"interrupted by {type(error).__name__}, its outcome is unknown"
                log(logging.WARNING, message, **self._details)
            return
        if isinstance(error, UnexpectedResponseError):
            # Without the frames that parsed the response: their local variables have it as it came.
            try:
                raise error.with_traceback(None)
            finally:
                del error, traceback
        translated, cause = self._translate(error)
        if translated is None:
            return
        try:
            raise translated from cause
        finally:
            # The exception being handled becomes the context, also if a stand-in replaced it as the cause.
            translated.__context__ = cause
            # A cycle through this frame would keep the connection until the next garbage collection.
            self._cause, self._last = None, (None, None)
            del translated, cause, error

    # --- Events, one after another for each attempt ---

    def on_create(self) -> None:
        """Wait for the turn of one of botocore's own retries, before it is signed: a signature expires."""
        if self._attempts > 0:
            self._limits.wait_for_turn()
            self._stop_if_over()

    def on_send(self, request: object) -> None:
        """Note that an attempt is about to be sent; raise if the call is over."""
        # If an attempt has not ended, a handler of its events called the client again.
        self._ambiguous = self._ambiguous or self.in_flight
        self._stop_if_over()
        self._request, self.raw_response, self.in_flight = request, None, True

    def on_sending(self) -> None:
        """Raise if the call is over by now: in its retry mode ``adaptive``, botocore waits after `on_send`.

        The attempt counts as sent, because other handlers of the event may have sent it.
        """
        self._stop_if_over()

    def on_raw_response(self, response: Mapping[str, Any]) -> None:
        """Note the response before botocore parses it, or another handler changes it."""
        self.raw_response = dict(response)
        if response.get("status_code", _OK) < _OK and self._client is not None:
            # http.client takes an interim response, such as 103, for the response (CPython skips only 100).
            # The real one, which follows, would be taken for the response to the next request.
            cast("Any", self._client).close()

    def on_attempt(self, parsed: object, exception: Exception | None) -> None:
        """Note how an attempt ended; raise before the next one if the call is cancelled."""
        self.in_flight = False
        self._attempts += 1
        if exception is None:
            self._limits.learn(parsed)
        if exception is None and "Error" not in cast("Mapping[str, object]", parsed):
            self._ambiguous = True  # until the call as a whole returns it
            return
        self._last = parsed, exception
        cls = ApiError if exception is None else error_class(exception, self._url(exception), receiving=False)
        self._ambiguous = self._ambiguous or may_have_succeeded(cls, parsed)
        self._stop_if_over()

    def _stop_if_over(self) -> None:
        cancelled = self._cancelled is not None and self._cancelled.is_set()
        if cancelled or (self._attempts > 0 and not self._limits.resolves and self._limits.time_left() <= 0):
            raise CallCancelled

    # --- Responses ---

    def parse_backup(self, response: object) -> Response:
        """Return the backup in a response to RestoreBackup or ModifyBackupAttributes.

        Raises:
            UnexpectedResponseError: there is no valid backup in it, or it is for another one.
        """
        backup = self._parse(section(response, "Backup") or None, response)
        if backup.backup_id != self.backup_id:
            raise self._unexpected(f"it is for a different backup, {backup.backup_id}", response)
        request_id = _request_id(response)
        if self.operation == "RestoreBackup" and logger.isEnabledFor(logging.INFO):
            state = state_name(backup.backup_state)
            message = f"{state} (request ID {request_id})" if request_id else state
            log(logging.INFO, message, **self._details, backup_state=state, request_id=request_id)
        return Response(backup, request_id)

    def parse_page(self, response: object, tokens: set[str]) -> tuple[list[Response], str | None]:
        """Return the backups of one response to DescribeBackups, and the token of the next page, new to
        ``tokens``.

        Raises:
            UnexpectedResponseError: there is no list of valid backups in it, or the token is invalid or
                repeated.
        """
        page: Mapping[str, object] = response if is_mapping(response) else {}
        backups, token = page.get("Backups"), page.get("NextToken")
        if not isinstance(backups, list):
            raise self._unexpected("no list of Backups in it", response)
        if not isinstance(token, str | None) or token in tokens:
            raise self._unexpected("invalid or repeated NextToken", response)
        if token:
            tokens.add(token)
        request_id = _request_id(response)
        parsed = [self._parse(item, response) for item in cast("list[object]", backups)]
        return [Response(backup, request_id) for backup in parsed], token or None

    def _parse(self, item: object, response: object) -> Backup:
        if not isinstance(item, Mapping):
            raise self._unexpected("no Backup in it", response)
        try:
            return Backup.model_validate(item)
        except ValidationError as error:
            problem = f"its backup is malformed ({validation_problems(error)})"
        # Outside of the handler: pydantic's exception holds the whole input, and would become the context.
        raise self._unexpected(problem, response)

    def not_described(self, others: int) -> RestoreError:
        """Return the error for a backup that DescribeBackups did not describe, but perhaps ``others``."""
        if others:
            return self._unexpected(f"it describes {others} other backups but not the requested one", None)
        code, message = "CloudHsmResourceNotFoundException", "DescribeBackups did not return it."
        problem = {"Code": code, "Message": message}
        return ResourceNotFoundError({"Error": problem}, "DescribeBackups", backup_id=self.backup_id)

    def endless(self, pages: int) -> RestoreError:
        """Return the error for a list that does not end."""
        return self._unexpected(f"{pages} pages without the requested backups, and another NextToken", None)

    def _unexpected(self, problem: str, response: object) -> UnexpectedResponseError:
        mask = self._mask
        error = UnexpectedResponseError(
            f"unexpected response: {mask.text(problem)}",
            response=mask.data(response),
            **self._details,
            outcome_unknown=self.operation != _READ_ONLY,
        )
        self._attach_body(error)
        return error

    # --- Errors ---

    def _translate(self, error: BaseException) -> tuple[RestoreError | None, BaseException | None]:
        """Return the `RestoreError` and its cause; None for an exception that must propagate."""
        try:
            translated = self._to_restore_error(error)
            if translated is None:
                return None, None
            self._set_outcome(translated)
            return translated, self._masked(error)
        except Exception:  # noqa: BLE001 (a handler, a test double, or a response that breaks this code)
            message = f"{type(error).__name__}, whose details could not be read"
            translated = RestoreError(message, **self._details)
            translated.outcome_unknown = self.operation not in (None, _READ_ONLY)
            return translated, None

    def _set_outcome(self, error: RestoreError) -> None:
        if self.operation in (None, _READ_ONLY):
            return
        # boto3 validates the parameters before the first attempt.
        observed = self.observed or isinstance(error, ParameterError)
        if isinstance(error, ApiError):
            missed = error.attempts > max(self._attempts, 1)
        else:
            missed = isinstance(error, TransportError) and self._attempts == 0
        # In flight: a handler raised it after the request was sent, before the attempt was observed.
        unresolved = self._ambiguous or self.in_flight or missed or not observed
        # An error response was the last attempt's, which is already judged if there was one.
        is_judged = isinstance(error, ApiError) and self._attempts > 0
        response = getattr(error, "response", None)
        error.outcome_unknown = unresolved or (not is_judged and may_have_succeeded(type(error), response))

    def _to_restore_error(self, error: BaseException) -> RestoreError | None:
        if isinstance(error, RestoreError) or not isinstance(error, Exception):
            return None
        if isinstance(error, boto.ClientError):
            return self._from_client_error(error)
        cls = error_class(error, self._url(error), receiving=self.raw_response is not None)
        if cls is None:
            return None
        self._masked(error)
        mask = self._mask
        kind, text = type(error).__name__, mask.text(str(error))
        translated = cls(**self._details)
        if isinstance(translated, UnexpectedResponseError):
            text = f"could not parse the response ({kind}: {text})"
        elif isinstance(translated, ConfigurationError) and raised_resolving_credentials(error):
            text = f"could not load credentials ({kind}: {text})"
            if isinstance(error, boto.HTTPClientError | boto.ConnectionError):
                translated.retryable = True
        elif (
            isinstance(translated, ConnectError) and (reason := mask.text(connect_reason(error))) not in text
        ):
            text = f"{text} ({reason})"
        elif cls is RestoreError:
            text = f"the HTTP client failed on this machine: {text}"
        elif not text or not isinstance(error, boto.BotoCoreError):
            text = f"{kind}: {text}"
        translated.args = (text,)
        if isinstance(translated, UnexpectedResponseError):
            self._attach_body(translated)
        return translated

    def _from_client_error(self, error: boto.ClientError) -> RestoreError | None:
        operation, expected = error.operation_name, self.operation
        is_other = expected is None or not same_operation(expected, operation)
        if is_other and raised_by_handler(error):
            return None
        facts = read_error(error.response)
        self._masked(error)
        retryable = facts.is_server_error or None
        translated = facts.cls(error.response, expected or operation, **self._details, retryable=retryable)
        if expected is not None and not (is_other and raised_resolving_credentials(error)):
            return translated
        text = f"could not load credentials: {operation} failed with {translated.code}: {translated.message}"
        return ConfigurationError(text, **self._details, retryable=translated.retryable)

    def _client_error(self) -> boto.ClientError | None:
        """Return the error of the last attempt, which botocore would have raised in the end."""
        parsed: Any = self._last[0]
        cast("dict[str, Any]", section(parsed, "ResponseMetadata"))["RetryAttempts"] = self._attempts - 1
        return boto.ClientError(parsed, self.operation or "") if section(parsed, "Error") else None

    def _masked(self, error: BaseException) -> BaseException:
        """Mask the exception and those that it came from, once; return what becomes the cause."""
        if self._cause is None:
            self._cause = self._mask.exception(error, self._handled)
        return self._cause

    @property
    def _mask(self) -> Masker:
        # Not before there is an error, and once: the request of the last attempt is known then.
        if self._masker is None:
            self._masker = masker_of(self._client, self._request, self._url_secrets)
        return self._masker

    def _url(self, error: BaseException) -> str | None:
        """Return the URL of the attempt that ended with this error; None if nothing was being sent."""
        sent = self.in_flight or error is self._last[1]
        return getattr(self._request, "url", None) if sent else None

    def _attach_body(self, error: UnexpectedResponseError) -> None:
        if self.raw_response is None:
            return
        body, headers = self.raw_response.get("body"), self.raw_response.get("headers")
        if isinstance(body, bytes):
            error.body = self._mask.text(body.decode(errors="replace"))
        if error.body:
            error.args = (f"{error.args[0]}; the body starts with {error.body[:60]!r}",)
        if error.response is None and isinstance(headers, Mapping):
            headers = {
                str(name).lower(): value for name, value in cast("Mapping[object, Any]", headers).items()
            }
            status, request_id = self.raw_response.get("status_code"), headers.get("x-amzn-requestid")
            metadata = {"RequestId": request_id, "HTTPStatusCode": status, "HTTPHeaders": headers}
            error.response = self._mask.data({"ResponseMetadata": metadata})


def call_in_flight(context: Context) -> bool:
    """Return whether a thread that runs in this context has sent a request whose attempt has not ended."""
    call = context.get(current_call)
    return call is not None and call.in_flight


def _request_id(response: object) -> str | None:
    request_id = section(response, "ResponseMetadata").get("RequestId")
    # AWS's are UUIDs. A longer text could be a session token that a server repeats.
    return request_id if isinstance(request_id, str) and len(request_id) <= _MAX_REQUEST_ID else None

"""The exceptions that this library raises.

    RestoreError
    ├── ConfigurationError              region, profile, credentials, endpoint, or config cannot be used
    ├── ParameterError                  (also ValueError) an argument of this call is invalid
    ├── TransportError                  no usable response was received
    │   ├── ConnectError                (also ConnectionError) no connection was established
    │   ├── ConnectionLostError         (also ConnectionError) the connection ended before a response came
    │   └── ResponseTimeoutError        (also TimeoutError) no response in time
    ├── UnexpectedResponseError         the response cannot be used
    ├── NotRestorableError              the backup is in a state that cannot be restored
    ├── WaitTimeoutError                (also TimeoutError) not READY in time
    └── ApiError                        (also botocore's ClientError) the service returned an error
        ├── AccessDeniedError
        ├── InternalFailureError
        ├── InvalidRequestError
        ├── ResourceNotFoundError
        ├── ServiceError
        ├── TagError
        ├── AuthenticationError
        └── ThrottlingError

After a failed restore, check `RestoreError.outcome_unknown` first: the backup may have been restored anyway.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypedDict, TypeGuard, Unpack

from botocore.exceptions import ClientError

from ._redaction import printable

if TYPE_CHECKING:
    from .models import Backup

__all__ = [
    "AccessDeniedError", "ApiError", "AuthenticationError", "ConfigurationError", "ConnectError",
    "ConnectionLostError", "InternalFailureError", "InvalidRequestError", "NotRestorableError",
    "ParameterError", "ResourceNotFoundError", "ResponseTimeoutError", "RestoreError", "ServiceError",
    "TagError", "ThrottlingError", "TransportError", "UnexpectedResponseError", "WaitTimeoutError",
]  # fmt: skip


class Details(TypedDict, total=False):
    """The keywords of `RestoreError`, which every exception of this module accepts."""

    operation: str | None
    backup_id: str | None
    retryable: bool | None
    outcome_unknown: bool
    backup: "Backup | None"


class RestoreError(Exception):
    """Any failed call of this library.

    ``str()`` is one printable line: what happened, to which backup, and what to do. If boto3 raised an
    exception, it is the ``__cause__``.
    """

    retryable: bool = False
    """Whether the same call may succeed if it is retried."""
    advice: ClassVar[str] = ""
    """What to do now. The message ends with this sentence."""

    operation: str | None
    """The AWS operation that failed, such as ``"RestoreBackup"``; None while a client was being created."""
    backup_id: str | None
    """The ID of the backup that the call was about; None if it was about none or about several."""
    outcome_unknown: bool
    """Whether the backup may have been restored although the call failed.

    True if any attempt within the call was ambiguous: the connection was lost, the response timed out or
    could not be used, the service returned HTTP 5xx or an error without an AWS error code, or the attempt
    could not be observed. Always False for read-only calls. If ``backup`` is READY, it is the change of
    ``never_expires`` whose outcome is unknown.
    """
    backup: "Backup | None"
    """The backup in its last known state within the call, or None if no response described it."""

    def __init__(
        self,
        message: str = "",
        *,
        operation: str | None = None,
        backup_id: str | None = None,
        retryable: bool | None = None,
        outcome_unknown: bool = False,
        backup: "Backup | None" = None,
    ) -> None:
        Exception.__init__(self, message)
        self.operation = operation
        self.backup_id = backup_id
        if retryable is not None:
            self.retryable = retryable
        self.outcome_unknown = outcome_unknown
        self.backup = backup

    def __str__(self) -> str:
        # An ID has 18 to 23 characters. A file that was passed as one would fill the screen.
        subject = f"{self.operation or ''} {str(self.backup_id or '')[:100]}".strip()
        message = str(*self.args[:1]).strip().rstrip(".") or type(self).__name__
        line = f"{subject}: {message}." if subject else f"{message}."
        return printable(f"{line} {self._outcome()} {self._advice()}")

    def _outcome(self) -> str:
        state = self.backup.backup_state if self.backup is not None else None
        if self.outcome_unknown and state == "DELETED":
            return "This call may have restored the backup, but it has been permanently deleted since."
        if self.outcome_unknown and state == "READY":
            return "The backup is READY, but the outcome of changing never_expires is unknown."
        if self.outcome_unknown:
            return "The backup may have been restored anyway. Call ensure_restored() to find out."
        if state == "READY":
            return "The backup is restored (READY)."
        return "This call did not restore it." if self.operation == "RestoreBackup" else ""

    def _advice(self) -> str:
        return self.advice.format(operation=self.operation)

    def __reduce__(self) -> tuple[Any, ...]:
        # The constructors differ, and the __reduce__ of OSError and ClientError would lose attributes.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[RestoreError], args: tuple[Any, ...], attributes: dict[str, Any]) -> RestoreError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(attributes)
    return error


class ConfigurationError(RestoreError):
    """The region, profile, credentials, endpoint, or config cannot be used. The last attempt sent nothing."""

    advice = "Check the region, the profile, the credentials, and the endpoint."


class ClosedClientError(ConfigurationError):
    """The client is closed, and nothing was sent. To catch it, use `ConfigurationError`."""

    advice = "Create a new client, or close this one later."


class ParameterError(RestoreError, ValueError):
    """An argument of this call is invalid. Nothing was sent."""


class TransportError(RestoreError):
    """No usable response was received."""

    retryable = True


class ConnectError(TransportError, ConnectionError):
    """No connection was established: refused, not resolved, or TLS or a proxy failed."""

    advice = "Check the endpoint, the network, and the proxy, then retry."


class ConnectionLostError(TransportError, ConnectionError):
    """The connection ended before a response came. The service may have processed the request."""


class ResponseTimeoutError(TransportError, TimeoutError):
    """No response in time. The service may have processed the request, or may process it later."""


class UnexpectedResponseError(RestoreError):
    """The response cannot be used: truncated, HTML, without a backup, or for a different backup."""

    retryable = True

    response: object
    """The response as parsed by boto3; only its ``ResponseMetadata``, or None, if it could not be parsed."""
    body: str | None
    """The start of the response body as text; None if it is not available, as with botocore's Stubber."""

    def __init__(
        self,
        message: str = "",
        *,
        response: object = None,
        body: str | None = None,
        **details: Unpack[Details],
    ) -> None:
        super().__init__(message, **details)
        self.response = response
        self.body = body


class NotRestorableError(RestoreError):
    """The backup is DELETED, or in a state that this version does not know. See ``backup``."""

    advice = "Look for other backups of its cluster, and for copies in other regions."


class WaitTimeoutError(RestoreError, TimeoutError):
    """The backup was not READY before ``timeout``. ``backup`` holds its last known state.

    The last error, if there was one, is the ``__cause__``, and the message has its code and request ID.
    """

    retryable = True
    advice = "Call ensure_restored() again."

    def _advice(self) -> str:
        return "" if "ensure_restored()" in self._outcome() else self.advice


class ApiError(RestoreError, ClientError):
    """The service returned an error. This class itself stands for unknown error codes.

    Also a botocore ``ClientError`` with the same constructor, so that ``except ClientError`` and
    ``error.response["Error"]["Code"]`` in existing code keep working.
    """

    codes: ClassVar[tuple[str, ...]] = ()
    """The AWS error codes of this class, the usual one first. The prefix ``CloudHsm`` and the suffixes
    ``Exception`` and ``Error`` are ignored."""

    code: str
    """The AWS error code, such as ``"CloudHsmInvalidRequestException"``; without one, the HTTP status."""
    message: str
    """The message of the service."""
    request_id: str | None
    """AWS's ID of the request, which AWS Support needs."""
    http_status_code: int | None
    """The HTTP status of the response."""
    attempts: int
    """How many attempts boto3 made within this call."""

    def __init__(
        self, error_response: Mapping[str, Any], operation_name: str, **details: Unpack[Details]
    ) -> None:
        error = section(error_response, "Error")
        metadata = section(error_response, "ResponseMetadata")
        retries = metadata.get("RetryAttempts")
        # botocore-stubs has a TypedDict here; without the stubs it is a plain dict, and so it is at run time.
        self.response = error_response  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
        self.operation_name = operation_name
        self.code = str(error.get("Code") or "Unknown")
        self.message = str(error.get("Message") or "")
        self.request_id = metadata.get("RequestId")
        self.http_status_code = metadata.get("HTTPStatusCode")
        self.attempts = retries + 1 if isinstance(retries, int) else 1
        details.setdefault("operation", operation_name)
        RestoreError.__init__(self, self._describe(), **details)

    def _describe(self) -> str:
        text = f"{self.code}: {self.message}" if self.message else self.code
        details = [
            f"HTTP {self.http_status_code}" if self.http_status_code else "",
            f"request ID {self.request_id}" if self.request_id else "",
            f"{self.attempts} attempts" if self.attempts > 1 else "",
        ]
        shown = ", ".join(detail for detail in details if detail)
        return f"{text.rstrip('. ')} ({shown})" if shown else text


_MAPPINGS: Final = (dict, Mapping)  # The first is by far the faster to check, and nearly always right.


def is_mapping(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Return whether the value is like a dict with string keys, as the parts of boto3's responses are."""
    return isinstance(value, _MAPPINGS)


def section(response: object, name: str) -> Mapping[str, Any]:
    """Return the part ``name`` of a boto3 response; empty if a test double or a server left it out."""
    part: object = response.get(name) if is_mapping(response) else None
    return part if is_mapping(part) else {}


class AccessDeniedError(ApiError):
    """The caller does not have permission."""

    codes: ClassVar[tuple[str, ...]] = (
        "CloudHsmAccessDeniedException", "AccessDenied", "AccessDeniedException", "NotAuthorized",
        "OptInRequired", "UnauthorizedOperation", "403",
    )  # fmt: skip
    """See `ApiError.codes`."""
    advice = "Allow cloudhsm:{operation} for these credentials in the account that owns the backup."


class InternalFailureError(ApiError):
    """The service failed; also any other HTTP 5xx. It may have processed the request anyway."""

    codes: ClassVar[tuple[str, ...]] = (
        "CloudHsmInternalFailureException", "InternalFailure", "InternalServerError", "InternalServiceError",
        "InternalError", "ServiceUnavailable", "500", "502", "503", "504",
    )  # fmt: skip
    """See `ApiError.codes`."""
    retryable = True
    advice = "Retry."


class InvalidRequestError(ApiError):
    """The service rejected the request as invalid.

    For RestoreBackup, this usually means that the backup is not PENDING_DELETION.
    """

    codes: ClassVar[tuple[str, ...]] = (
        "CloudHsmInvalidRequestException", "ValidationException", "ValidationError",
    )  # fmt: skip
    """See `ApiError.codes`."""
    advice = "Check its state with get_backup(). Only a backup in PENDING_DELETION can be restored."

    def _advice(self) -> str:
        return self.advice if self.operation == "RestoreBackup" else ""


class ResourceNotFoundError(ApiError):
    """This account and region do not have the backup."""

    codes: ClassVar[tuple[str, ...]] = ("CloudHsmResourceNotFoundException",)
    """See `ApiError.codes`."""
    advice = "Check the ID, the account, and the region."


class ServiceError(ApiError):
    """The request was rejected because an error occurred, in AWS's words."""

    codes: ClassVar[tuple[str, ...]] = ("CloudHsmServiceException",)
    """See `ApiError.codes`."""
    advice = "If the error persists, contact AWS Support with the request ID."


class TagError(ApiError):
    """The request was rejected because of a tagging failure."""

    codes: ClassVar[tuple[str, ...]] = ("CloudHsmTagException",)
    """See `ApiError.codes`."""
    advice = "Verify the tag conditions in all applicable policies, then retry."


class AuthenticationError(ApiError):
    """The service rejected the credentials or the signature: expired, unknown, or the clock is off."""

    codes: ClassVar[tuple[str, ...]] = (
        "ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException", "InvalidClientTokenId",
        "InvalidAccessKeyId", "InvalidToken", "InvalidSignatureException", "SignatureDoesNotMatch",
        "IncompleteSignature", "MissingAuthenticationToken", "RequestExpired", "RequestTimeTooSkewed",
        "AuthFailure", "401",
    )  # fmt: skip
    """See `ApiError.codes`."""
    advice = "Refresh the credentials and check the system clock."


class ThrottlingError(ApiError):
    """The request was throttled and not processed. If the HTTP status is 5xx, the outcome is unknown."""

    codes: ClassVar[tuple[str, ...]] = (
        "ThrottlingException", "Throttling", "ThrottledException", "RequestThrottled",
        "RequestThrottledException", "TooManyRequestsException", "RequestLimitExceeded",
        "BandwidthLimitExceeded", "ProvisionedThroughputExceededException", "EC2ThrottledException",
        "PriorRequestNotComplete", "SlowDown", "429",
    )  # fmt: skip
    """See `ApiError.codes`."""
    retryable = True
    advice = "Wait, then retry."

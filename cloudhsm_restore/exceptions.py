"""The one family of exceptions that this library raises.

    RestoreError
    ├── ConfigurationError              region, profile, credentials, endpoint or config unusable
    ├── ParameterError                  (also ValueError) an argument of this call is unusable
    ├── TransportError                  no usable answer
    │   ├── ConnectError                (also ConnectionError) no connection could be made
    │   ├── ConnectionLostError         (also ConnectionError) it ended before an answer came
    │   └── ResponseTimeoutError        (also TimeoutError) no answer in time
    ├── UnexpectedResponseError         an answer that is no such response
    ├── NotRestorableError              the backup is in a state that cannot be restored
    ├── WaitTimeoutError                (also TimeoutError) not READY in time
    └── ApiError                        (also botocore's ClientError) the service answered with an error
        ├── AccessDeniedError
        ├── InternalFailureError
        ├── InvalidRequestError
        ├── ResourceNotFoundError
        ├── ServiceError
        ├── TagError
        ├── AuthenticationError
        └── ThrottlingError

`outcome_unknown` is the question that matters after a failed restore: may it have worked all the same?
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from .models import Backup

__all__ = [
    "AccessDeniedError",
    "ApiError",
    "AuthenticationError",
    "ConfigurationError",
    "ConnectError",
    "ConnectionLostError",
    "InternalFailureError",
    "InvalidRequestError",
    "NotRestorableError",
    "ParameterError",
    "ResourceNotFoundError",
    "ResponseTimeoutError",
    "RestoreError",
    "ServiceError",
    "TagError",
    "ThrottlingError",
    "TransportError",
    "UnexpectedResponseError",
    "WaitTimeoutError",
]


def one_line(text: str) -> str:
    """The text in one line that can be printed: JSON can hold half a character, which cannot."""
    return " ".join(text.split()).encode(errors="replace").decode()


class RestoreError(Exception):
    """Any failure of this library's calls. ``str()`` is one line: what happened, to which backup, what to do.

    boto3's own exception is the ``__cause__``, where there is one.
    """

    retryable: bool = False
    """Whether the same call may work if it is tried again."""
    advice: ClassVar[str] = ""
    """What to do now, in one sentence that ends the message."""

    operation: str | None
    """The AWS operation that failed, such as ``"RestoreBackup"``; None while a client was being made."""
    backup_id: str | None
    """The ID of the backup that the call was about, or None where it was about none or many."""
    outcome_unknown: bool
    """Whether the backup may have been restored although the call failed.

    True as soon as any try within the call was left in doubt: connection lost, no answer in time, an
    unexpected response, an internal failure or another HTTP 5xx. Always false for calls that only read.
    """
    backup: "Backup | None"
    """The backup as it was last seen within the call, or None where it was not seen."""

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
        subject = f"{self.operation or ''} {self.backup_id or ''}".strip()
        state = self.backup.backup_state if self.backup is not None else None
        if self.outcome_unknown and state == "DELETED":
            outcome = "This call may have restored it, and it was deleted for good since."
        elif self.outcome_unknown:
            outcome = "The backup may have been restored all the same; ensure_restored() finds out."
        elif state == "READY":
            outcome = "The backup is restored (READY)."
        elif self.operation == "RestoreBackup":
            outcome = "This call did not restore it."
        else:
            outcome = ""
        what = str(*self.args[:1]).strip().rstrip(".") or type(self).__name__
        line = f"{subject}: {what}." if subject else f"{what}."
        return one_line(f"{line} {outcome} {self._advised()}")

    def _advised(self) -> str:
        return self.advice.format(operation=self.operation)

    def __reduce__(self) -> tuple[Any, ...]:
        # The constructors differ, and OSError and ClientError bring ways of their own that lose attributes.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[RestoreError], args: tuple[Any, ...], attributes: dict[str, Any]) -> RestoreError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(attributes)
    return error


class ConfigurationError(RestoreError):
    """The region, profile, credentials, endpoint or config cannot be used; nothing was sent."""

    advice = "Check the region, the profile, the credentials and the endpoint."


class ParameterError(RestoreError, ValueError):
    """An argument of this call cannot be used; nothing was sent."""


class TransportError(RestoreError):
    """No usable answer came."""

    retryable = True


class ConnectError(TransportError, ConnectionError):
    """No connection could be made: refused, not resolved, or TLS or a proxy failed."""

    advice = "Check the endpoint, the network and the proxy, then try again."


class ConnectionLostError(TransportError, ConnectionError):
    """The connection ended before an answer came; the service may have done the work."""


class ResponseTimeoutError(TransportError, TimeoutError):
    """No answer came in time; the service may have done the work, or may do it still."""


class UnexpectedResponseError(RestoreError):
    """The answer is no such response: cut short, HTML, without a backup, about another backup."""

    retryable = True

    response: object
    """The answer as boto3 read it. Where it could not, its ``ResponseMetadata`` alone, or None."""
    body: str | None
    """The beginning of the answer's body, as text; None where none was seen, as with botocore's Stubber."""

    def __init__(
        self,
        message: str = "",
        *,
        response: object = None,
        body: str | None = None,
        operation: str | None = None,
        backup_id: str | None = None,
        retryable: bool | None = None,
        outcome_unknown: bool = False,
        backup: "Backup | None" = None,
    ) -> None:
        super().__init__(
            message,
            operation=operation,
            backup_id=backup_id,
            retryable=retryable,
            outcome_unknown=outcome_unknown,
            backup=backup,
        )
        self.response = response
        self.body = body


class NotRestorableError(RestoreError):
    """The backup is in a state that cannot be restored: DELETED, or one that nobody knows. See ``backup``."""


class WaitTimeoutError(RestoreError, TimeoutError):
    """The backup was not READY in time; ``backup`` holds what was last seen of it."""

    retryable = True
    advice = "Call ensure_restored() again."

    def _advised(self) -> str:
        return "" if self.outcome_unknown else self.advice  # it has been said


class ApiError(RestoreError, ClientError):
    """The service answered with an error. This class itself stands for codes that nobody knows.

    Also a botocore ``ClientError`` and made like one, so that ``except ClientError`` and
    ``error.response["Error"]["Code"]`` in existing code go on working.
    """

    codes: ClassVar[tuple[str, ...]] = ()
    """The AWS error codes that this class stands for, the usual one first. The prefix ``CloudHsm`` and the
    suffixes ``Exception`` and ``Error`` make no difference."""

    code: str
    """The AWS error code, such as ``"CloudHsmInvalidRequestException"``; without one, the HTTP status."""
    message: str
    """The service's own words."""
    request_id: str | None
    """AWS's ID of the request, which AWS support asks for."""
    http_status_code: int | None
    """The HTTP status of the answer."""
    attempts: int
    """How many times boto3 tried within this call."""

    def __init__(
        self,
        error_response: Mapping[str, Any],
        operation_name: str,
        *,
        backup_id: str | None = None,
        retryable: bool | None = None,
        outcome_unknown: bool = False,
        backup: "Backup | None" = None,
    ) -> None:
        error: Mapping[str, Any] = error_response.get("Error") or {}
        metadata: Mapping[str, Any] = error_response.get("ResponseMetadata") or {}
        # botocore-stubs has a TypedDict here; without the stubs it is a plain dict, and so it is at run time.
        self.response = error_response  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
        self.operation_name = operation_name
        self.code = str(error.get("Code") or "Unknown")
        self.message = str(error.get("Message") or "")
        self.request_id = metadata.get("RequestId")
        self.http_status_code = metadata.get("HTTPStatusCode")
        self.attempts = int(metadata.get("RetryAttempts") or 0) + 1
        RestoreError.__init__(
            self,
            self._described(),
            operation=operation_name,
            backup_id=backup_id,
            retryable=retryable,
            outcome_unknown=outcome_unknown,
            backup=backup,
        )

    def _described(self) -> str:
        said = f"{self.code}: {self.message}" if self.message else self.code
        details = [
            f"HTTP {self.http_status_code}" if self.http_status_code else "",
            f"request ID {self.request_id}" if self.request_id else "",
            f"{self.attempts} attempts" if self.attempts > 1 else "",
        ]
        inside = ", ".join(detail for detail in details if detail)
        return f"{said.rstrip('. ')} ({inside})" if inside else said


class AccessDeniedError(ApiError):
    """The caller is not allowed to do this."""

    codes: ClassVar[tuple[str, ...]] = (
        "CloudHsmAccessDeniedException",
        "AccessDenied",
        "AccessDeniedException",
        "NotAuthorized",
        "OptInRequired",
        "UnauthorizedOperation",
        "403",
    )
    """See `ApiError.codes`."""
    advice = "Allow cloudhsm:{operation} for these credentials, in the account that owns the backup."


class InternalFailureError(ApiError):
    """The service failed, and any other HTTP 5xx. The service may have done the work."""

    codes: ClassVar[tuple[str, ...]] = (
        "CloudHsmInternalFailureException",
        "InternalFailure",
        "InternalServerError",
        "InternalServiceError",
        "InternalError",
        "ServiceUnavailable",
        "500",
        "502",
        "503",
        "504",
    )
    """See `ApiError.codes`."""
    retryable = True
    advice = "Try again."


class InvalidRequestError(ApiError):
    """The request does not fit; for RestoreBackup mostly: the backup is not PENDING_DELETION (any more)."""

    codes: ClassVar[tuple[str, ...]] = (
        "CloudHsmInvalidRequestException",
        "ValidationException",
        "ValidationError",
    )
    """See `ApiError.codes`."""
    advice = "Look at the backup with get_backup(): RestoreBackup takes only one that is PENDING_DELETION."

    def _advised(self) -> str:
        return self.advice if self.operation == "RestoreBackup" else ""


class ResourceNotFoundError(ApiError):
    """There is no such backup in this account and region."""

    codes: ClassVar[tuple[str, ...]] = ("CloudHsmResourceNotFoundException",)
    """See `ApiError.codes`."""
    advice = "Check the ID, the account and the region."


class ServiceError(ApiError):
    """The request was rejected because an error occurred, as AWS puts it."""

    codes: ClassVar[tuple[str, ...]] = ("CloudHsmServiceException",)
    """See `ApiError.codes`."""
    advice = "If it persists, ask AWS support with the request ID."


class TagError(ApiError):
    """The request was rejected because of a tagging failure."""

    codes: ClassVar[tuple[str, ...]] = ("CloudHsmTagException",)
    """See `ApiError.codes`."""
    advice = "Check the tag conditions in all policies that apply."


class AuthenticationError(ApiError):
    """The service does not accept the credentials or the signature: expired, unknown, or a wrong clock."""

    codes: ClassVar[tuple[str, ...]] = (
        "ExpiredTokenException",
        "ExpiredToken",
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "InvalidAccessKeyId",
        "InvalidToken",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "IncompleteSignature",
        "MissingAuthenticationToken",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "AuthFailure",
        "401",
    )
    """See `ApiError.codes`."""
    advice = "Renew the credentials and check this machine's clock."


class ThrottlingError(ApiError):
    """Too many requests. This one was not carried out; with HTTP 5xx, nobody knows."""

    codes: ClassVar[tuple[str, ...]] = (
        "ThrottlingException",
        "Throttling",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "BandwidthLimitExceeded",
        "ProvisionedThroughputExceededException",
        "EC2ThrottledException",
        "PriorRequestNotComplete",
        "SlowDown",
        "429",
    )
    """See `ApiError.codes`."""
    retryable = True
    advice = "Wait a moment, then try again."

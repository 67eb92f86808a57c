"""The library's errors as messages for a terminal, and as exit statuses."""

import re
import sys
from collections.abc import Mapping
from typing import Any, Final, cast

from cloudhsm_restore import RestoreError, exceptions
from cloudhsm_restore._redaction import printable

from ._settings import CommandError, Settings, Status, redirect_to_devnull

# The library's advice names Python calls. At a terminal the same advice is a command, and it is given once.
_CLI_PHRASES: Final = (
    (r"Call ensure_restored\(\) to find out", "Run the same command again to find out"),
    (r"Call ensure_restored\(\) again", "Run the same command again"),
    (r"with get_backup\(\)", "with `cloudhsm-restore show`"),
    (r"(to find out\.) (?:Run the same command again|Retry|Wait, then retry)\.$", r"\1"),
    (r"(<[^>].{60}).*>", r"\1..."),  # a web page in place of a response
)

_REGION: Final = "Pass --region or set AWS_DEFAULT_REGION (boto3 does not read AWS_REGION)."
_KEY: Final = "Set both the access key ID and the secret access key, or pass --profile."
_CREDENTIALS: Final = (
    "Pass --profile or set AWS_PROFILE. For an IAM Identity Center profile, also run `aws sso login`."
)
# By the class of botocore's exception and the start of its text. The library's own advice lists all causes.
_CONFIGURE: Final = (
    ("NoRegionError", "", _REGION),
    ("ValueError", "Invalid endpoint: https://cloudhsmv2..", _REGION),  # the region is set, but empty
    ("NoCredentialsError", "", _CREDENTIALS),
    ("PartialCredentialsError", "", _KEY),
    ("ProfileNotFound", "", "Run `aws configure list-profiles` to list the available profiles."),
    ("SSOError", "", "Run `aws sso login` with this profile."),
    ("TokenRetrievalError", "", "Run `aws sso login` with this profile."),
    ("ValueError", "Invalid endpoint", "An endpoint is a URL that starts with http:// or https://."),
)
_NOT_AWS: Final = (
    "The response does not look like one from CloudHSM. Check the endpoint, the proxy, and whether the "
    "network requires a login (captive portal)."
)


def status_of(error: RestoreError) -> Status:
    """Return the exit status for an error."""
    if error.outcome_unknown:
        return Status.UNKNOWN
    if isinstance(error, exceptions.ConfigurationError | exceptions.AuthenticationError):
        return Status.CONFIGURATION
    return Status.USAGE if isinstance(error, exceptions.ParameterError) else Status.FAILED


def command_error(settings: Settings, error: Exception) -> CommandError:
    """Return what ends a command. An error that is neither of the library nor of a stream is a bug."""
    if isinstance(error, RestoreError):
        text = format_error(error)
        if error.retryable and "etry" not in text and _NOT_AWS not in text:
            text += " Retrying may help."
        target = f"\nTarget: {settings.target()}." if settings.connections else ""
        return CommandError(text + target, status_of(error))
    if isinstance(error, OSError):
        redirect_to_devnull(sys.stdout)
        # A reader that needs no more, such as `head`, is not a failure.
        status = Status.DONE if isinstance(error, BrokenPipeError) else Status.FAILED
        return CommandError(f"Cannot write to standard output: {error.strerror}.", status)
    raise error


def format_error(error: RestoreError) -> str:
    """Return the one line that reports an error at a terminal."""
    line = str(error)
    if better := _better_advice(error):
        line = f"{line.removesuffix(error.advice.format(operation=error.operation)).rstrip()} {better}"
    return _in_cli_phrases(line)


def format_advice(error: RestoreError) -> str:
    """Return only what to do about an error."""
    return _in_cli_phrases(_better_advice(error) or error.advice.format(operation=error.operation))


def cause_of(error: BaseException | None) -> str:
    """Return the AWS error code, or the class of an error that has none; of a timeout also its last error."""
    name = str(getattr(error, "code", None) or type(error).__name__) if error else ""
    if isinstance(error, exceptions.WaitTimeoutError) and error.__cause__:
        name += f" after {cause_of(error.__cause__)}"
    return name


def _in_cli_phrases(line: str) -> str:
    for python, phrase in _CLI_PHRASES:
        line = re.sub(python, phrase, line)
    return printable(line)


def _better_advice(error: RestoreError) -> str:
    """Return advice for the command line, if there is more to say than the library can."""
    # `ensure_restored` raises a timeout from the last error, which may have come from another server.
    cause = error.__cause__
    if _is_not_from_aws(error) or _is_not_from_aws(cause):
        return _NOT_AWS
    if not isinstance(error, exceptions.ConfigurationError) or cause is None:
        return ""
    # By name, because importing all of them from botocore would cost more than the message.
    names = {cls.__name__ for cls in type(cause).__mro__}
    rules = ((name in names and str(cause).startswith(start), advice) for name, start, advice in _CONFIGURE)
    return next((advice for matches, advice in rules if matches), "")


def _is_not_from_aws(error: BaseException | None) -> bool:
    """Return whether another server responded: AWS names its errors and numbers its requests."""
    if isinstance(error, exceptions.ApiError):
        # A gateway of AWS's own responds without an error code, too.
        return error.code.isdigit() and not error.request_id and error.http_status_code not in (502, 503, 504)
    if not isinstance(error, exceptions.UnexpectedResponseError) or error.body is None:
        return False
    response = cast("Mapping[str, Any]", error.response or {})  # botocore's, because there is a body
    numbered = response.get("ResponseMetadata", {}).get("RequestId")
    return not numbered or error.body.lstrip().startswith("<")

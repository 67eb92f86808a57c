"""What holds for every command: the options, the client made from them, exit statuses and messages."""

import logging
import os
import re
import shlex
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO, cast

import click

if TYPE_CHECKING:
    from rich.console import Console

    from cloudhsm_restore import RestoreClient, RestoreError

Output = Literal["table", "json", "jsonl"]

DEFAULT_WORKERS: Final = 8
DEFAULT_TIMEOUT: Final = 300.0
_BOTO3_POOL: Final = 10  # connections, unless the config says otherwise; restore_backups uses no more


class Status(IntEnum):
    """The exit statuses. Where several apply, see `worst`."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNKNOWN = 3
    CONFIGURATION = 4
    INTERRUPTED = 130


_BY_WEIGHT: Final = (
    Status.INTERRUPTED,
    Status.UNKNOWN,
    Status.CONFIGURATION,
    Status.FAILED,
    Status.USAGE,
)


def worst(statuses: set[Status]) -> Status:
    """The one status for a run in which all of these came up."""
    return next((status for status in _BY_WEIGHT if status in statuses), Status.DONE)


def status_of(error: "RestoreError") -> Status:
    """The exit status that a failure calls for."""
    from cloudhsm_restore import AuthenticationError, ConfigurationError, ParameterError

    if error.outcome_unknown:
        return Status.UNKNOWN
    if isinstance(error, ConfigurationError | AuthenticationError):
        return Status.CONFIGURATION
    return Status.USAGE if isinstance(error, ParameterError) else Status.FAILED


class Problem(click.ClickException):
    """Ends the command with one message on standard error and an exit status."""

    def __init__(self, message: str, status: Status) -> None:
        super().__init__(message)
        self.status = status


# The library advises in Python; here the same advice has to be something to type, and is given once.
_IN_WORDS: Final = (
    (r"Call ensure_restored\(\) to find out", "Run the same command again to find out"),
    (r"Call ensure_restored\(\) again", "Run the same command again"),
    (r"with get_backup\(\)", "with the command show"),
    (r"(find out\.) (Retry|Run the same command again)\.$", r"\1"),
    (r"(<[^>].{60}).*>", r"\1..."),  # a page that a web server has sent
)

_REGION: Final = "Give --region, or set AWS_DEFAULT_REGION."
_SIGN_IN: Final = "Run `aws sso login` with this profile."
_CREDENTIALS: Final = (
    "Give --profile, or set AWS_PROFILE; a profile of IAM Identity Center also needs `aws sso login`."
)
# By the class of botocore's exception and how its text begins. The library's own advice names all four.
_CONFIGURE: Final = (
    ("NoRegionError", "", _REGION),
    ("ValueError", "Invalid endpoint: https://cloudhsmv2..", _REGION),  # it is set, and empty
    ("NoCredentialsError", "", _CREDENTIALS),
    ("PartialCredentialsError", "", "Set both halves of the key, or give --profile."),
    ("ProfileNotFound", "", "`aws configure list-profiles` lists those that there are."),
    ("SSOError", "", _SIGN_IN),
    ("TokenRetrievalError", "", _SIGN_IN),
    ("ValueError", "Invalid endpoint", "An endpoint is a URL that starts with http:// or https://."),
)
_NOT_READ: Final = "AWS_REGION is set, but boto3 does not read it."
_STRANGER: Final = (
    "This does not look like CloudHSM. Check the endpoint and the proxy, and whether this network has a "
    "page to log in on (a captive portal)."
)
_GATEWAY: Final = (502, 503, 504)  # what stands in front of AWS says so itself, and that passes


def in_words(error: "RestoreError") -> str:
    """The one line of a failure, for somebody at a terminal."""
    line = str(error)
    if better := _advice(error):
        line = f"{line.removesuffix(error.advice.format(operation=error.operation)).rstrip()} {better}"
    for python, words in _IN_WORDS:
        line = re.sub(python, words, line)
    return printable(line)


def _advice(error: "RestoreError") -> str:
    """What to do at a command line, where that is more than the library can know."""
    from cloudhsm_restore import ConfigurationError, RestoreError

    cause = error.__cause__
    if _is_a_strangers(error) or (isinstance(cause, RestoreError) and _is_a_strangers(cause)):
        return _STRANGER
    if not isinstance(error, ConfigurationError) or cause is None:
        return ""
    names = {cls.__name__ for cls in type(cause).__mro__}
    for name, beginning, advice in _CONFIGURE:
        if name in names and str(cause).startswith(beginning):
            not_read = advice == _REGION and os.environ.get("AWS_REGION")
            return f"{_NOT_READ} {advice}" if not_read else advice
    return ""


def _is_a_strangers(error: "RestoreError") -> bool:
    """Whether somebody else than AWS has answered: AWS names an error, and numbers each request."""
    from cloudhsm_restore import ApiError, UnexpectedResponseError

    if isinstance(error, ApiError):
        return error.code.isdigit() and not error.request_id and error.http_status_code not in _GATEWAY
    if not isinstance(error, UnexpectedResponseError) or error.body is None:
        return False
    response = cast("Mapping[str, Any]", error.response or {})  # as botocore makes it, for it has a body
    numbered = response.get("ResponseMetadata", {}).get("RequestId")
    return not numbered or error.body.lstrip().startswith("<")


def printable(text: str) -> str:
    """The text without characters that would do something to a terminal: it may come from anywhere."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def let_go(stream: TextIO) -> None:
    """Let what is still to be written go nowhere, so that Python does not stumble over it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    return re.sub(r"(?<=//)[^/]*@", "***@", url)


def _endpoint_of_environment() -> str | None:
    """The endpoint that boto3 takes from the environment: a restore there must not look like a real one."""
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    return os.environ.get("AWS_ENDPOINT_URL_CLOUDHSM_V2") or os.environ.get("AWS_ENDPOINT_URL")


@dataclass
class Settings:
    """The options that every command has."""

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    output: Output | None = None
    no_color: bool = False
    verbose: bool = False

    place: str = ""
    """Where the client works, in words, as soon as there is one."""

    @property
    def format(self) -> Output:
        """The format of the data: a table for people, lines of JSON for programs, unless it was chosen."""
        return self.output or ("table" if sys.stdout.isatty() else "jsonl")

    def colors_on(self, *, stderr: bool = False) -> bool:
        """Whether to write colours. https://no-color.org has the rules."""
        wanted = not (self.no_color or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb")
        return wanted and (sys.stderr if stderr else sys.stdout).isatty()

    def console(self, *, stderr: bool = False) -> "Console":
        """A rich console that keeps to the options."""
        from rich.console import Console

        return Console(
            stderr=stderr,
            color_system="auto" if self.colors_on(stderr=stderr) else None,
            highlight=False,
            emoji=False,
            markup=False,
        )

    def say(self, text: str, color: str | None = None) -> None:
        """Tell the user something that is not data. If nobody listens, the work goes on all the same."""
        try:
            styled = click.style(text, fg=color) if color else text
            click.echo(styled, err=True, color=self.colors_on(stderr=True))
        except OSError:
            let_go(sys.stderr)

    def options(self) -> list[str]:
        """The options that lead another command to the same place."""
        given = {
            "--region": self.region,
            "--profile": self.profile,
            "--endpoint-url": self.endpoint_url and without_password(self.endpoint_url),
        }
        return [word for option, value in given.items() if value is not None for word in (option, value)]

    def command(self, *words: str) -> str:
        """A command line of this tool to copy, as it was started and for the same place."""
        prog = click.get_current_context().find_root().info_name or "cloudhsm-restore"
        return f"{prog} {shlex.join([words[0], *self.options(), *words[1:]])}"

    @contextmanager
    def client(self, workers: int = DEFAULT_WORKERS) -> "Generator[RestoreClient]":
        """A client for the chosen place; its failures end the command with a message and a status."""
        from cloudhsm_restore import ConfigurationError, RestoreClient, RestoreError

        if self.verbose:
            log_to_stderr(logging.INFO)
        try:
            import boto3
            from botocore.config import Config

            try:
                session = boto3.Session(profile_name=self.profile, region_name=self.region)
            except Exception as error:  # whatever it is, it comes from the profile or the config file
                raise ConfigurationError(str(error)) from error
            endpoint = self.endpoint_url or _endpoint_of_environment()
            places = {
                "region": session.region_name or (endpoint and "not set"),  # an endpoint can do without
                "profile": self.profile,
                "endpoint": endpoint and printable(without_password(endpoint)),
            }
            self.place = ", ".join(f"{what} {place}" for what, place in places.items() if place)
            if self.verbose:
                session.events.register("request-created.cloudhsm-v2", _log_request)
                session.events.register("response-received.cloudhsm-v2", _log_answer)
            config = Config(max_pool_connections=workers) if workers > _BOTO3_POOL else None
            with RestoreClient(session=session, endpoint_url=self.endpoint_url, config=config) as client:
                yield client
        except RestoreError as error:
            words = in_words(error)
            if error.retryable and "again" not in words and _STRANGER not in words:
                words += " It may work if you try again."
            place = f"\nThis was in {self.place}." if self.place else ""
            raise Problem(words + place, status_of(error)) from error


# --- --verbose ---

_logger: Final = logging.getLogger("cloudhsm_restore.cli")


class _ToStderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")  # looked up each time: a progress bar stands in
        except OSError:
            let_go(sys.stderr)


def log_to_stderr(level: int) -> None:
    """Show what the library logs."""
    handler = _ToStderr()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger = logging.getLogger("cloudhsm_restore")
    logger.addHandler(handler)
    logger.setLevel(level)


def _log_request(request: object, operation_name: str, **_: object) -> None:
    # Once for each try of botocore's. The body has IDs and filters; credentials are in the headers.
    body = getattr(request, "data", b"")
    _logger.info("%s %s", operation_name, body.decode() if isinstance(body, bytes) else body)


def _log_answer(
    event_name: str,
    response_dict: Mapping[str, Any] | None = None,
    parsed_response: Mapping[str, Any] | None = None,
    exception: Exception | None = None,
    **_: object,
) -> None:
    # Once for each try, as well. Only the class of an exception: its text may have the endpoint's password.
    status = f"HTTP {response_dict['status_code']}" if response_dict else ""
    code = (parsed_response or {}).get("Error", {}).get("Code", "")
    failure = type(exception).__name__ if exception else ""
    said = " ".join(filter(None, (status, str(code), failure)))
    _logger.info("%s: %s", event_name.rpartition(".")[2], printable(said))

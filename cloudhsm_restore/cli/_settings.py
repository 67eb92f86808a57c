"""What holds for every command: the options, the client made from them, exit statuses and messages."""

import logging
import os
import re
import shlex
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Literal, TextIO

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


# The library advises in Python; here the same advice has to be something to type.
_IN_WORDS: Final = (
    ("ensure_restored() finds out", "trying it again finds out"),
    ("Call ensure_restored() again", "Try it again"),
    ("with get_backup()", "with the command show"),
)


def in_words(error: BaseException) -> str:
    """The one line of a failure, for somebody at a terminal."""
    line = str(error)
    for python, words in _IN_WORDS:
        line = line.replace(python, words)
    return printable(line)


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
            self.place = f"region {session.region_name or 'not set'}"
            if self.profile is not None:
                self.place += f", profile {self.profile}"
            endpoint = self.endpoint_url or _endpoint_of_environment()
            if endpoint:
                self.place += f", endpoint {printable(without_password(endpoint))}"
            if self.verbose:
                session.events.register("request-created.cloudhsm-v2", _log_request)
            config = Config(max_pool_connections=workers) if workers > _BOTO3_POOL else None
            with RestoreClient(session=session, endpoint_url=self.endpoint_url, config=config) as client:
                yield client
        except RestoreError as error:
            place = f"\nThis was in {self.place}." if self.place else ""
            again = " It may work if you try again." if error.retryable else ""
            raise Problem(in_words(error) + place + again, status_of(error)) from error


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

"""The options that were given, and what follows from them: clients, target, messages, exit status."""

import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

if TYPE_CHECKING:
    from cloudhsm_restore import Backup, RestoreClient

_REPEATED: Final = ("never_expires", "workers", "timeout", "yes", "region", "profile", "endpoint_url")


class Status(IntEnum):
    """The exit statuses, the one with precedence first; 0 is not needed where there is another."""

    INTERRUPTED = 130
    PENDING = 5
    UNKNOWN = 3
    CONFIGURATION = 4
    FAILED = 1
    USAGE = 2
    DONE = 0


def worst(statuses: Iterable[Status]) -> Status:
    """Return the one status of a run that has all of these."""
    return min(statuses, key=[*Status].index, default=Status.DONE)


class CommandError(click.ClickException):
    """Ends the command with one message on standard error and an exit status."""

    def __init__(self, message: str, status: Status) -> None:
        super().__init__(message)
        self.status = status


def redirect_to_devnull(stream: TextIO) -> None:
    """Discard the rest of a stream that cannot be written, so that Python can flush it when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def without_password(url: str) -> str:
    """Return a URL as it can be shown."""
    from cloudhsm_restore._redaction import Masker, printable, url_secrets

    return printable(Masker(url_secrets(None, url)).text(url))


@dataclass(eq=False)
class Connection:
    """A client, where it sends its requests, and the backups that it is to restore."""

    client: "RestoreClient"
    region: str | None
    endpoint: str
    events: Any
    """The events of the boto3 client."""
    backup_ids: Sequence[str] = ()


@dataclass
class Settings:
    """The options of all commands."""

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    output: str | None = None
    no_color: bool = False
    verbose: bool = False
    every: bool = False
    states: Sequence[str] = ()
    clusters: Sequence[str] = ()
    tags: Sequence[str] = ()
    deleted_after: datetime | None = None
    deleted_before: datetime | None = None
    all_regions: bool = False
    exit_code: bool = False
    all_pending: bool = False
    never_expires: bool = False
    dry_run: bool = False
    yes: bool = False
    workers: int | None = None
    timeout: float | None = None
    connections: list[Connection] = field(default_factory=list[Connection])
    """The clients so far."""

    @property
    def filtered(self) -> bool:
        """Whether an option selects among the backups."""
        return bool(self.clusters or self.tags or self.deleted_after or self.deleted_before)

    @property
    def format(self) -> str:
        """The output format: a table for a terminal, JSON Lines for a pipe, unless one was chosen."""
        return self.output or ("table" if sys.stdout.isatty() else "jsonl")

    def colors_on(self, stream: TextIO) -> bool:
        """Return whether to write colors to the stream, by the rules of https://no-color.org."""
        wanted = not (self.no_color or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb")
        return wanted and stream.isatty()

    def echo_stderr(self, text: str, color: str | None = None, *, end: str = "\n") -> None:
        """Print a message. If standard error cannot be written, the work still goes on."""
        try:
            styled = click.style(text, fg=color) if color and self.colors_on(sys.stderr) else text
            sys.stderr.write(styled + end)
            sys.stderr.flush()
        except OSError:
            redirect_to_devnull(sys.stderr)

    def command(self, name: str, *words: str) -> str:
        """Return a command line of this program to copy, with those options that it needs to do the same."""
        context = click.get_current_context()
        options: list[str] = []
        for option in context.command.params:
            # Not from the context, which has only what was given after the command.
            value = getattr(self, str(option.name), None)
            if option.name in _REPEATED and value:
                options += [option.opts[-1], *([] if value is True else [without_password(f"{value}")])]
        return f"{context.find_root().info_name} {shlex.join([name, *options, *words])}"

    # --- Clients ---

    @cached_property
    def session(self) -> Any:
        """The boto3 session. It keeps the last client that was created from it, in ``made``."""
        import boto3

        from cloudhsm_restore import ConfigurationError

        # `RestoreClient` creates the client, with its checks and its name in the user agent. What the client
        # knows about region and endpoint is public only on boto3's client itself.
        class Session(boto3.Session):
            def client(self, *args: Any, **options: Any) -> Any:
                self.made = super().client(*args, **options)
                return self.made

        try:
            session = Session(profile_name=self.profile, region_name=self.region)
        except Exception as error:  # whatever it is, it comes from the profile or the configuration file
            raise ConfigurationError(str(error)) from error
        if self.verbose:
            from ._display import Verbose

            Verbose(self, session.events)
        return session

    def connect(self, region: str | None = None, backup_ids: Sequence[str] = ()) -> Connection:
        """Create a client, which is closed when the command ends."""
        from botocore.config import Config

        from cloudhsm_restore import RestoreClient

        # `restore_backups` runs no more workers than the connection pool holds.
        config = Config(max_pool_connections=self.workers) if self.workers else None
        client = RestoreClient(
            session=self.session, region_name=region, endpoint_url=self.endpoint_url, config=config
        )
        click.get_current_context().with_resource(client)
        meta = self.session.made.meta
        endpoint = without_password(meta.endpoint_url)
        connection = Connection(client, meta.region_name, endpoint, meta.events, backup_ids)
        self.connections.append(connection)
        return connection

    def target(self, backups: "Iterable[Backup]" = ()) -> str:
        """Return the account, and where requests are sent according to the clients themselves.

        The account is that of the backups, or else of the credentials, if they have it. STS is not called:
        that would take a permission and an endpoint of its own, which may be out of reach.
        """
        accounts = {(backup.backup_arn or "").split(":")[4:5][0] for backup in backups if backup.backup_arn}
        if not accounts:
            try:
                accounts = {getattr(self.session.get_credentials(), "account_id", None) or "unknown"}
            except Exception:  # noqa: BLE001  (a failed call has reported the credentials already)
                accounts = {"unknown"}
        places = [f"region {each.region or 'not set'}, endpoint {each.endpoint}" for each in self.connections]
        if len(places) > 3:  # noqa: PLR2004  (more are counted, because a message is one line)
            places = [f"{len(places)} regions"]
        profile = [f"profile {self.profile}"] if self.profile else []
        return ", ".join([f"account {', '.join(sorted(accounts))}", *profile, *places])

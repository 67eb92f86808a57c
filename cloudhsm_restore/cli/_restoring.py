"""The command ``restore``: finds the backups, asks for confirmation, restores them, and reports.

The first signal raises in the main thread, while it waits for the next result. The library then ends the
iteration: it wakes what waits, sends nothing new, waits for the requests in flight, and logs the outcome of
each backup that was in flight. The second signal reports without waiting, and ends the process.
"""

import json
import logging
import os
import signal
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, Final, NoReturn, TextIO

import click

from cloudhsm_restore import Backup, BackupState, RestoreError, RestoreResult, exceptions
from cloudhsm_restore._log import logger
from cloudhsm_restore._validation import DEFAULT_MAX_WORKERS, DEFAULT_TIMEOUT

from ._display import ProgressDisplay
from ._finding import concurrently, echo_nothing_found, find, parse_local_id, read_ids
from ._messages import cause_of, status_of
from ._output import OutputWriter
from ._report import Outcome, Record, report
from ._settings import CommandError, Connection, Settings, Status

_PENDING: Final = (BackupState.PENDING_DELETION,)
_SIGNALS: Final = [each for each in signal.Signals if each.name in ("SIGINT", "SIGTERM", "SIGHUP")]
_LOGGED: Final = {"restored": Outcome.RESTORED, "not_restored": Outcome.FAILED}
_SHARED: Final = exceptions.AccessDeniedError, exceptions.ConnectError
_ALIKE: Final = 10  # this many failures in a row with the same cause: the others would fail as well


def restore(settings: Settings, words: Sequence[str]) -> Status:
    """Restore the backups with these IDs, or those that the options select."""
    found: dict[str, Backup] = {}
    interrupted = False
    try:
        if settings.all_pending:
            connection = settings.connect()
            found = {each.backup_id: each for each in find(settings, _PENDING, connection)}
            # Earliest deletion first, which is also the order of the restores.
            connection.backup_ids = list(found)
            if not found:
                OutputWriter(settings).end(lambda _: ())
                echo_nothing_found(settings, _PENDING)
                return Status.DONE
        else:
            _connect(settings, words)
        if settings.dry_run:
            return _dry_run(settings)
        if not settings.yes and not _confirm(settings, found, from_stdin="-" in words):
            settings.echo_stderr("Nothing was restored.")
            return Status.FAILED
    except KeyboardInterrupt:
        interrupted = True  # the report lists what was not attempted
    return Run(settings, found).run(interrupted=interrupted)


def _connect(settings: Settings, words: Sequence[str]) -> None:
    """Create a client for each region of the IDs."""
    regions: dict[str | None, list[str]] = {}
    for word in words:
        ids = read_ids() if word == "-" else [(parse_local_id(settings, word, "One of the IDs"), None)]
        for backup_id, region in ids:
            regions.setdefault(region or settings.session.region_name, []).append(backup_id)
    if not regions:
        raise CommandError("No backup IDs on standard input.", Status.USAGE)
    for region, backup_ids in regions.items():
        settings.connect(region, list(dict.fromkeys(backup_ids)))


def _dry_run(settings: Settings) -> Status:
    items = [(each, backup_id) for each in settings.connections for backup_id in each.backup_ids]
    described = concurrently(lambda item: item[0].client.get_backup(item[1]), items, DEFAULT_MAX_WORKERS)
    data = OutputWriter(settings)
    records = [_predict_outcome(each, backup_id, result) for (each, backup_id), result in described]
    for record in records:
        data.add(record.json)
    status = report(settings, data, records)
    data.check()
    return status


def _predict_outcome(connection: Connection, backup_id: str, result: Backup | RestoreError) -> Record:
    if isinstance(result, RestoreError):
        missing = isinstance(result, exceptions.ParameterError | exceptions.ResourceNotFoundError)
        outcome = Outcome.WOULD_NOT_RESTORE if missing else Outcome.UNDETERMINED
        return Record(backup_id, connection.region, outcome, error=result)
    outcome = Outcome.WOULD_RESTORE if result.is_restorable else Outcome.WOULD_NOT_RESTORE
    outcome = Outcome.ALREADY_RESTORED if result.backup_state is BackupState.READY else outcome
    return Record(backup_id, connection.region, outcome, result)


def _confirm(settings: Settings, found: dict[str, Backup], *, from_stdin: bool) -> bool:
    """Return whether the user agrees. One backup needs no confirmation."""
    count = sum(len(each.backup_ids) for each in settings.connections)
    if count == 1:
        return True
    exempt = " and exempt them from the retention policy" if settings.never_expires else ""
    backups = list(found.values())
    if not backups:
        # One of them has the account in its ARN. An error is not reported here: the restore will have it.
        with suppress(RestoreError):
            first = settings.connections[0]
            backups = [first.client.get_backup(first.backup_ids[0])]
    question = f"Restore {count} backups in {settings.target(backups)}{exempt}?"
    terminal: TextIO | None = sys.stdin if sys.stdin.isatty() else None
    if terminal is None and from_stdin:
        with suppress(OSError):
            terminal = click.get_current_context().with_resource(open("/dev/tty"))  # noqa: PTH123, SIM115
    if terminal is None or not sys.stderr.isatty():
        raise CommandError(f"{question} There is no terminal to confirm it; pass --yes.", Status.USAGE)
    settings.echo_stderr(f"{question} [y/N] ", end="")
    reply = ""
    try:
        reply = terminal.readline()
    finally:
        if not reply.endswith("\n"):  # Ctrl-D or Ctrl-C
            settings.echo_stderr("")
    return reply.strip().lower() in ("y", "yes")


# --- The run ---


class _StopError(BaseException):
    """Ends the iteration; not an ``Exception``, so that nothing handles it on its way."""


class Run(logging.Handler):
    """Restores the backups of all connections. As a logging handler, collects the records of the library."""

    def __init__(self, settings: Settings, found: Mapping[str, Backup]) -> None:
        """Prepare a run; ``found`` are backups as they were before."""
        super().__init__(logging.INFO)
        self._settings = settings
        self._found = found
        self._data = OutputWriter(settings)
        self._display = ProgressDisplay(settings, sum(len(each.backup_ids) for each in settings.connections))
        self._records: dict[str, Record] = {}
        self._sent: dict[str, set[str]] = {}  # operations by the ID of the backup
        self._stopped: dict[str, Mapping[str, Any]] = {}  # what the library logged of those in flight
        self._signals = 0
        self._iterating = self._stopping = self._reporting = self._abandoned = False
        self._causes: list[str] = []
        self._stop_reason = ""

    def run(self, *, interrupted: bool) -> Status:
        """Restore all backups and report; after a second signal report immediately and exit."""
        self._signals = int(interrupted)
        with self._handlers():
            try:
                self._display.start()
                self._restore()
            finally:
                self._display.close()
                self._reporting, interrupted = True, self._signals > 0
                status = self._report()
            if interrupted:
                self._exit()
        if status is Status.DONE:
            self._data.check()
        return status

    # --- Restoring ---

    def _restore(self) -> None:
        settings = self._settings
        try:
            for connection in settings.connections:
                results = connection.client.restore_backups(
                    connection.backup_ids,
                    never_expires=settings.never_expires or None,
                    max_workers=settings.workers or DEFAULT_MAX_WORKERS,
                    timeout=DEFAULT_TIMEOUT if settings.timeout is None else settings.timeout,
                )
                with closing(results):
                    self._iterate_or_stop()
                    for result in results:
                        self._iterating = False
                        self._add_result(result, connection.region)
                        self._iterate_or_stop()
                    self._iterating = False
        except _StopError:
            pass

    def _iterate_or_stop(self) -> None:
        """Let signals raise from here on, or stop because of what happened before."""
        self._iterating = True
        if self._signals > 1:
            self._abandon()
        if self._signals or self._stop_reason:
            self._stop()

    def _stop(self) -> NoReturn:
        self._iterating, self._stopping = False, True
        raise _StopError

    def _add_result(self, result: RestoreResult, region: str | None) -> None:
        backup_id, error = result.backup_id, result.error
        if error is None:
            outcome = Outcome.RESTORED
            if result.changed is False:
                # The response alone does not say who set the attribute.
                exempted = "ModifyBackupAttributes" in self._sent.get(backup_id, ())
                outcome = Outcome.EXEMPTED if exempted else Outcome.ALREADY_RESTORED
        elif error.backup and error.backup.backup_state is BackupState.READY:
            outcome = Outcome.NOT_EXEMPT
        else:
            outcome = Outcome.UNKNOWN if error.outcome_unknown else Outcome.FAILED
        backup = (error.backup if error else result.backup) or self._found.get(backup_id)
        self._display.advance(backup_id, failed=not result.ok)
        self._add(Record(backup_id, region, outcome, backup, error, result.changed, result.request_id))
        self._check_cause(error if outcome is Outcome.FAILED else None)

    def _add(self, record: Record) -> None:
        self._records[record.backup_id] = record
        self._data.add(record.json)

    def _check_cause(self, error: RestoreError | None) -> None:
        """Stop the run if the other backups would fail as well."""
        cause = cause_of(error)
        self._causes.append(cause)
        if error and status_of(error) is Status.CONFIGURATION:
            self._stop_reason = f"Stopped early: the other backups would fail with {cause} too."
        elif isinstance(error, _SHARED) and self._causes[-_ALIKE:] == [cause] * _ALIKE:
            self._stop_reason = f"Stopped early: {_ALIKE} backups in a row failed with {cause}."

    # --- Reporting ---

    def _report(self) -> Status:
        for connection in self._settings.connections:
            for backup_id in connection.backup_ids:
                if backup_id not in self._records:
                    self._add(self._stopped_record(backup_id, connection.region))
        return report(self._settings, self._data, list(self._records.values()), self._stop_reason)

    def _stopped_record(self, backup_id: str, region: str | None) -> Record:
        if backup_id not in self._sent:
            return Record(backup_id, region, Outcome.NOT_ATTEMPTED, self._found.get(backup_id))
        logged = self._stopped.get(backup_id, {})
        error: RestoreError | None = logged.get("cloudhsm_error")
        backup: Backup | None = logged.get("cloudhsm_backup") or getattr(error, "backup", None)
        # Without a record of the library the request is still in flight, because a second signal came.
        outcome = _LOGGED.get(logged.get("cloudhsm_outcome", ""), Outcome.UNKNOWN)
        exempt = not self._settings.never_expires or (backup and backup.never_expires)
        if outcome is Outcome.RESTORED and not exempt:
            outcome = Outcome.NOT_EXEMPT
        return Record(backup_id, region, outcome, backup or self._found.get(backup_id), error)

    # --- What the library logs, and what boto3 is about to send ---

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the outcome of a backup that was in flight, or show why one waits."""
        fields = record.__dict__
        backup_id = str(fields.get("cloudhsm_backup_id"))
        if "cloudhsm_outcome" in fields:
            self._stopped[backup_id] = fields
        elif "cloudhsm_wait_cause" in fields:
            self._display.add_wait(backup_id, fields)

    def _before_send(self, request: Any, event_name: str, **_: object) -> None:
        # First noted, then checked: nothing is sent that a report without it is made of.
        backup_id = json.loads(request.body).get("BackupId")
        self._sent.setdefault(backup_id, set()).add(event_name.rpartition(".")[2])
        if self._abandoned:
            raise _StopError

    # --- Signals ---

    @contextmanager
    def _handlers(self) -> Generator[None]:
        for connection in self._settings.connections:
            connection.events.register("before-send.cloudhsm-v2", self._before_send)
        logger.setLevel(logging.INFO)
        logger.addHandler(self)
        # A signal that the caller ignores, as nohup does, stays ignored.
        handled = [each for each in _SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
        before = {each: signal.signal(each, self._on_signal) for each in handled}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
            logger.removeHandler(self)

    def _on_signal(self, *_: object) -> None:
        self._signals += 1
        if self._signals > 1 and (self._stopping or self._reporting):
            self._abandon()
        if not self._reporting:
            self._display.show_stopping()
        if self._iterating:
            self._stop()

    def _abandon(self) -> NoReturn:
        """Report without waiting for the requests in flight, and end the process."""
        if not self._reporting:
            self._reporting = self._abandoned = True
            self._display.close()
            self._report()
        self._exit()

    def _exit(self) -> NoReturn:
        # Not through Python, which would wait for threads, and no longer handle signals while it does.
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(Status.INTERRUPTED)

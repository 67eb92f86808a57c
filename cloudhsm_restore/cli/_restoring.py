"""The command ``restore``: looks, asks, lets `restore_backups` work, and tells what became of each backup.

Looking first (DescribeBackups) tells the account, and which ones are READY already; it decides nothing.
An interrupt stops handing over IDs and waits for the results of those that were handed over; a second one
stops waiting, and what has no result then is unknown. Neither is an exception, so that none can be lost.
"""

import json
import os
import re
import shlex
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Final, TextIO, cast

from ._output import (
    WORDS,
    Data,
    Outcome,
    Record,
    account_of,
    backups_table,
    outcomes_table,
    record_json,
)
from ._settings import (
    DEFAULT_TIMEOUT,
    DEFAULT_WORKERS,
    Problem,
    Settings,
    Status,
    in_words,
    printable,
    status_of,
    worst,
)

if TYPE_CHECKING:
    from rich.progress import Progress

    from cloudhsm_restore import Backup, RestoreClient, RestoreResult

_LOOK_AT_ONCE: Final = 50  # a page of DescribeBackups
_COPYABLE: Final = 10  # IDs in one line


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command ``restore``."""

    never_expires: bool
    workers: int
    timeout: float
    dry_run: bool
    yes: bool
    filters: tuple[str, ...] | None = None
    """With ``--all-pending`` the options that choose among them, otherwise None."""

    def again(self) -> list[str]:
        """The options with which to try again."""
        return [
            *(["--never-expires"] if self.never_expires else []),
            *(["--workers", str(self.workers)] if self.workers != DEFAULT_WORKERS else []),
            *(["--timeout", f"{self.timeout:.15g}"] if self.timeout != DEFAULT_TIMEOUT else []),
            *(["--yes"] if self.yes else []),
        ]


# What a person may take for an ID, and what to do about it.
_NO_IDS: Final = (
    (r"\s*$", "is empty: is a variable of the shell not set?"),
    (r"\S+,$", "ends in a comma: leave it out."),
    (r".*[\s,]", "is no ID, for there is white space or a comma in it."),
    (r"arn:.*/", "is an ARN: give only what is behind its last slash."),
)


def check_id(backup_id: str, where: str) -> str:
    """The ID itself. One that cannot be used ends the command before anything is called."""
    for pattern, wrong in _NO_IDS:
        if re.match(pattern, backup_id):
            quoted = f" ({printable(backup_id)[:60]!r})" if backup_id.strip() else ""
            raise Problem(f"{where}{quoted} {wrong} Nothing was restored.", Status.USAGE)
    return backup_id


def read_ids(stream: TextIO) -> Iterator[str]:
    """The IDs in what comes: one a line, or JSON or JSON lines as ``list`` and ``restore`` write them."""
    for place, item in _items(stream.read()):
        where = f"{place} of standard input"
        backup_id = cast("dict[str, object]", item).get("backup_id") if isinstance(item, dict) else item
        if not isinstance(backup_id, str):
            what = "neither a backup ID nor JSON with a backup_id, such as `list --output json` writes"
            raise Problem(f"{where} is {what}. Nothing was restored.", Status.USAGE)
        yield check_id(backup_id, where)


def _items(text: str) -> Iterator[tuple[str, object]]:
    """What is in the text, and where: the items of one JSON text, or line by line."""
    try:
        whole: object = json.loads(text)
    except ValueError:
        for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
            if line and not line.startswith("#"):
                yield f"Line {number}", _loaded(line)
    else:
        several = cast("list[object]", whole) if isinstance(whole, list) else [whole]
        for number, item in enumerate(several, start=1):
            yield f"Item {number}", item


def _loaded(line: str) -> object:
    """The line itself, or the JSON in it; None where it looks like JSON and is none."""
    try:
        return json.loads(line) if line[0] in '{["' else line
    except ValueError:
        return None


def restore(
    settings: Settings,
    backup_ids: Sequence[str] | None,
    pending: "Callable[[RestoreClient], list[Backup]]",
    options: Options,
    *,
    from_stdin: bool,
) -> Status:
    """Restore the backups with these IDs, or without any all that are pending."""
    with settings.client(options.workers) as client:
        try:
            if backup_ids is None:
                found = {backup.backup_id: backup for backup in pending(client)}
                backup_ids = list(found)
                if not backup_ids:
                    Data(settings).end(lambda width: backups_table((), width=width, states=True))
                    settings.say(f"Nothing is pending deletion in {settings.place}. Is that the right place?")
                    return Status.DONE
            else:
                found = _look(settings, client, backup_ids, dry_run=options.dry_run)
            if options.dry_run:
                return _dry_run(settings, client, backup_ids, found)
            if len(backup_ids) > 1 and not options.yes:
                question = _question(settings, backup_ids, found, options)
                if not _agreed(question, from_stdin=from_stdin):
                    settings.say("Nothing was restored.")
                    return Status.FAILED
        except KeyboardInterrupt:
            raise Problem("Interrupted before anything was restored.", Status.INTERRUPTED) from None
        return _restore(settings, client, backup_ids, found, options)


def _look(
    settings: Settings, client: "RestoreClient", backup_ids: Sequence[str], *, dry_run: bool
) -> "dict[str, Backup]":
    from cloudhsm_restore import ConnectError, RestoreError

    found: dict[str, Backup] = {}
    try:
        for start in range(0, len(backup_ids), _LOOK_AT_ONCE):
            some = backup_ids[start : start + _LOOK_AT_ONCE]
            found |= {backup.backup_id: backup for backup in client.describe_backups(backup_ids=some)}
    except RestoreError as error:
        if isinstance(error, ConnectError) or status_of(error) is Status.CONFIGURATION:
            many = len(backup_ids) > _COPYABLE
            which = f"{len(backup_ids)} backups" if many else printable(", ".join(backup_ids))
            settings.say(f"Nothing was restored of: {which}", "red")
            raise
        all_the_same = "" if dry_run else " Restoring all the same."
        settings.say(f"Could not look at the backups first: {in_words(error)}{all_the_same}", "yellow")
    return found


def _dry_run(
    settings: Settings, client: "RestoreClient", backup_ids: Sequence[str], found: "Mapping[str, Backup]"
) -> Status:
    records = [_foreseen(client, backup_id, found.get(backup_id)) for backup_id in backup_ids]
    data = Data(settings)
    for record in records:
        data.add(record_json(record))
    backups = [record.backup for record in records if record.backup]
    if backups or settings.format != "table":
        data.end(lambda width: backups_table(backups, width=width, states=True))
    _tell_reasons(settings, records)
    where = f"account {account_of(found.values())}, {settings.place}"
    settings.say(f"Dry run in {where}: {_counts(records, Outcome.WOULD_RESTORE)}. Nothing was changed.")
    data.check()
    return _status(records)


def _foreseen(client: "RestoreClient", backup_id: str, backup: "Backup | None") -> Record:
    from cloudhsm_restore import ParameterError, ResourceNotFoundError, RestoreError

    try:
        backup = backup or client.get_backup(backup_id)
    except (ParameterError, ResourceNotFoundError) as error:
        return Record(backup_id, Outcome.WOULD_NOT_RESTORE, error=error)
    except RestoreError as error:
        return Record(backup_id, Outcome.CANNOT_SAY, error=error)
    if backup.is_restorable:
        return Record(backup_id, Outcome.WOULD_RESTORE, backup)
    return Record(
        backup_id, Outcome.ALREADY_RESTORED if _is_ready(backup) else Outcome.WOULD_NOT_RESTORE, backup
    )


def _question(
    settings: Settings, backup_ids: Sequence[str], found: "Mapping[str, Backup]", options: Options
) -> str:
    ready = sum(map(_is_ready, found.values()))
    details = f" ({ready} READY already)" if ready else ""
    exempt = " and exempt them from the retention policy" if options.never_expires else ""
    where = f"account {account_of(found.values())}, {settings.place}"
    return f"Restore {len(backup_ids)} backups{details} in {where}{exempt}?"


def _agreed(question: str, *, from_stdin: bool) -> bool:
    terminal = _terminal(from_stdin=from_stdin)
    if terminal is None:
        raise Problem(f"{question} There is no terminal to ask on: add --yes.", Status.USAGE)
    answer = ""
    with terminal as stream:
        try:
            sys.stderr.write(f"{question} [y/N] ")
            sys.stderr.flush()
            answer = stream.readline()
        finally:
            if not answer.endswith("\n"):  # Ctrl-D or Ctrl-C
                sys.stderr.write("\n")
    return answer.strip().lower() in ("y", "yes")


def _terminal(*, from_stdin: bool) -> TextIO | None:
    """Where a person can answer, if there is one."""
    if not sys.stderr.isatty() or not (from_stdin or sys.stdin.isatty()):
        return None
    try:
        return Path("/dev/tty").open() if from_stdin else open(os.dup(0))  # noqa: PTH123  (a copy, for it is closed)
    except OSError:
        return None


# --- The work ---


class _Run:
    """`restore_backups` in a thread of its own, so that the main thread can always answer an interrupt."""

    def __init__(self, client: "RestoreClient", backup_ids: Sequence[str], options: Options) -> None:
        self._client = client
        self._backup_ids = backup_ids
        self._options = options
        self._finished: SimpleQueue[RestoreResult | BaseException | None] = SimpleQueue()
        self.handed_over: set[str] = set()
        self.stopping = self.interrupted = self.abandoned = False

    def __iter__(self) -> "Iterator[RestoreResult]":
        threading.Thread(target=self._work, daemon=True).start()
        while (item := self._finished.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def interrupt(self) -> None:
        """Stop handing over, and the second time stop waiting as well. May be called at any moment."""
        if self.interrupted:
            self.abandoned = True
            self._finished.put(None)
        self.interrupted = self.stopping = True

    def _work(self) -> None:
        try:
            for result in self._client.restore_backups(
                self._hand_over(),
                never_expires=self._options.never_expires or None,
                max_workers=self._options.workers,
                timeout=self._options.timeout,
            ):
                if result.error and status_of(result.error) is Status.CONFIGURATION:
                    self.stopping = True  # with these credentials nothing else can work
                self._finished.put(result)
        except BaseException as error:  # noqa: BLE001  (it is raised in the main thread)
            self._finished.put(error)
        self._finished.put(None)

    def _hand_over(self) -> Iterator[str]:
        for backup_id in self._backup_ids:
            if self.stopping:
                return
            self.handed_over.add(backup_id)
            yield backup_id


def _restore(
    settings: Settings,
    client: "RestoreClient",
    backup_ids: Sequence[str],
    found: "Mapping[str, Backup]",
    options: Options,
) -> Status:
    run = _Run(client, backup_ids, options)
    records: dict[str, Record] = {}
    data = Data(settings)
    try:
        with _bar(settings, len(backup_ids)) as bar, _interruptible(run, bar):
            for result in run:
                record = records[result.backup_id] = _record(result, found.get(result.backup_id))
                data.add(record_json(record))
                bar.advance(failed=not result.ok)
    finally:
        for backup_id in backup_ids:
            if backup_id not in records:
                outcome = Outcome.UNKNOWN if backup_id in run.handed_over else Outcome.NOT_TRIED
                records[backup_id] = Record(backup_id, outcome, found.get(backup_id))
                data.add(record_json(records[backup_id]))
        ordered = sorted(records.values(), key=lambda record: _ORDER.index(record.outcome))
        data.end(lambda width: outcomes_table(ordered, width=width))
        _report(settings, ordered, options)
    if run.abandoned:
        # Python would wait for the calls that are under way, however long they take.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(Status.INTERRUPTED)
    if run.interrupted:
        return Status.INTERRUPTED
    status = _status(records.values())
    if status is Status.DONE:
        data.check()
    return status


def _record(result: "RestoreResult", before: "Backup | None") -> Record:
    error = result.error
    if error is None:
        outcome = Outcome.ALREADY_RESTORED if before and _is_ready(before) else Outcome.RESTORED
    elif error.backup and _is_ready(error.backup):
        outcome = Outcome.NOT_EXEMPT
    else:
        outcome = Outcome.UNKNOWN if error.outcome_unknown else Outcome.FAILED
    return Record(result.backup_id, outcome, error.backup if error else result.backup, error)


def _is_ready(backup: "Backup") -> bool:
    return backup.backup_state == "READY"


@contextmanager
def _interruptible(run: _Run, bar: "_Bar") -> Generator[None]:
    """Interrupts go to the run. After one, none is an exception any more: the report is to come."""

    def on_interrupt(*_: object) -> None:
        run.interrupt()
        if not run.abandoned:
            bar.stopping()

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # whoever started us wants us not to be interrupted
        yield
        return
    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        if not run.interrupted:
            signal.signal(signal.SIGINT, before)


class _Bar:
    """How far it is: on a terminal a bar, elsewhere nothing."""

    def __init__(self, progress: "Progress", total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("Restoring", total=total, failed="")
        self._failed = 0

    def advance(self, *, failed: bool) -> None:
        """One more is done."""
        self._failed += failed
        text = f"{self._failed} failed" if self._failed else ""
        self._progress.update(self._task, advance=1, failed=text)

    def stopping(self) -> None:
        """Nothing new is begun. Called while anything else may be going on in the main thread."""
        what = "Stopping (Ctrl-C again: at once)"
        if self._progress.disable:
            os.write(2, f"{what}\n".encode())
        else:
            self._progress.update(self._task, description=what)


@contextmanager
def _bar(settings: Settings, total: int) -> Generator[_Bar]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    shared = settings.format == "jsonl" and sys.stdout.isatty()  # lines of data would run into it
    terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]}", style="red"),
        TimeElapsedColumn(),
        console=settings.console(stderr=True),
        transient=True,
        redirect_stdout=False,
        disable=shared or not terminal,
    )
    with nullcontext() if progress.disable else progress:
        yield _Bar(progress, total)


# --- The report ---


def _report(settings: Settings, records: Sequence[Record], options: Options) -> None:
    if settings.format == "table" and records:
        settings.say("")
    _tell_reasons(settings, records)
    again = [record for record in records if record.outcome not in _FINE and _may_help(record)]
    if again:
        what, command = _command(settings, options, again)
        settings.say(f"{what}:\n  {command}")
    color = "green" if all(record.outcome in _FINE for record in records) else "yellow"
    settings.say(f"{_counts(records, *_ALWAYS_COUNTED)} in {settings.place}.", color)


def _may_help(record: Record) -> bool:
    """Whether trying this one again can help."""
    from cloudhsm_restore import NotRestorableError, ParameterError, ResourceNotFoundError

    error = record.error
    if error is None or error.retryable or error.outcome_unknown:
        return True
    return not isinstance(error, ParameterError | ResourceNotFoundError | NotRestorableError)


def _command(settings: Settings, options: Options, records: Sequence[Record]) -> tuple[str, str]:
    """What to do to try these again, and the command line for it, no longer than one can copy."""
    ids = [record.backup_id for record in records]
    words = options.again()
    if len(ids) <= _COPYABLE:
        end_of_options = ["--"] if any(backup_id.startswith("-") for backup_id in ids) else []
        what = f"To try just {'these' if len(ids) > 1 else 'this one'} again"
        return what, settings.command("restore", *words, *end_of_options, *ids)
    if options.filters is not None and all(record.outcome in _PENDING_STILL for record in records):
        command = settings.command("restore", "--all-pending", *options.filters, *words)
        return "To try all again that are pending still", command
    command = settings.command("restore", *words, "-")
    if sys.stderr.isatty():
        with (
            suppress(OSError),
            NamedTemporaryFile("w", prefix="cloudhsm-restore-", suffix=".txt", delete=False) as file,
        ):
            file.writelines(f"{backup_id}\n" for backup_id in ids)
            return "To try just these again", f"{command} < {shlex.quote(file.name)}"
    if settings.format == "table":
        return f"To try these {len(ids)} again, pipe their IDs into", command
    return "To try again, pipe the output of this run into (what is restored already stays as it is)", command


def _tell_reasons(settings: Settings, records: Iterable[Record]) -> None:
    for record in records:
        if record.outcome in _FINE or record.outcome is Outcome.NOT_TRIED:
            continue
        if record.error:
            reason = in_words(record.error)
        elif record.outcome is Outcome.UNKNOWN:
            reason = f"{record.backup_id}: interrupted. It may have been restored all the same."
        else:
            state = record.backup and record.backup.backup_state
            reason = f"{record.backup_id}: its state is {state}."
        words, color = WORDS[record.outcome]
        settings.say(f"{words}: {reason}", color)


_ORDER: Final = tuple(WORDS)
_PENDING_STILL: Final = (Outcome.FAILED, Outcome.NOT_TRIED)  # others may be READY, and not exempt
_FINE: Final = (Outcome.RESTORED, Outcome.ALREADY_RESTORED, Outcome.WOULD_RESTORE)
_ALWAYS_COUNTED: Final = (Outcome.RESTORED, Outcome.ALREADY_RESTORED, Outcome.FAILED, Outcome.UNKNOWN)


def _counts(records: Iterable[Record], *always: Outcome) -> str:
    counted = Counter(record.outcome for record in records)
    return ", ".join(
        f"{counted[outcome]} {words}"
        for outcome, (words, _) in WORDS.items()
        if counted[outcome] or outcome in always
    )


def _status(records: Iterable[Record]) -> Status:
    statuses = {
        status_of(record.error) if record.error else _STATUSES.get(record.outcome, Status.FAILED)
        for record in records
    }
    return worst(statuses)


_STATUSES: Final = dict.fromkeys(_FINE, Status.DONE) | {Outcome.UNKNOWN: Status.UNKNOWN}

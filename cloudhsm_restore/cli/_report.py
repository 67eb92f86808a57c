"""Outcomes, and the report on them: JSON, a table, a line for each cause, how to retry, and a summary."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from cloudhsm_restore import Backup, RestoreError, exceptions
from cloudhsm_restore._redaction import printable

from ._messages import cause_of, format_advice, format_error, status_of
from ._output import Cell, OutputWriter, fit, format_value
from ._settings import Settings, Status, worst

_MAX_ROWS: Final = 20
_MAX_IDS_PER_COMMAND: Final = 10
_USELESS_TO_RETRY: Final = exceptions.ResourceNotFoundError, exceptions.NotRestorableError
_ANYWAY: Final = " May have been restored anyway."


class Outcome(StrEnum):
    """The outcome of one backup that was to be restored."""

    RESTORED = "restored"
    """It is READY."""
    ALREADY_RESTORED = "already_restored"
    """It is READY, and was READY before this command could have restored it."""
    EXEMPTED = "exempted"
    """It was READY before; this command exempted it from the retention policy."""
    NOT_EXEMPT = "not_exempt"
    """It is READY, but ``--never-expires`` failed: the retention policy can delete it again."""
    FAILED = "failed"
    """It was not restored."""
    UNKNOWN = "unknown"
    """It may have been restored or not."""
    NOT_ATTEMPTED = "not_attempted"
    """The command ended before a request for it was sent."""
    WOULD_RESTORE = "would_restore"
    """Dry run: it is PENDING_DELETION."""
    WOULD_NOT_RESTORE = "would_not_restore"
    """Dry run: it does not exist, or is in a state that cannot be restored."""
    UNDETERMINED = "undetermined"
    """Dry run: its state could not be read; the restore would be attempted."""

    @property
    def words(self) -> str:
        """The outcome in words."""
        return _WORDS.get(self, self.value.replace("_", " "))


_WORDS: Final = {
    Outcome.NOT_EXEMPT: "restored but not exempt from retention",
    Outcome.WOULD_RESTORE: "would be restored",
    Outcome.WOULD_NOT_RESTORE: "would not be restored",
    Outcome.UNDETERMINED: "would be attempted, state unknown",
}
SUCCEEDED: Final = (Outcome.RESTORED, Outcome.ALREADY_RESTORED, Outcome.EXEMPTED, Outcome.WOULD_RESTORE)
_COLORS: Final = dict.fromkeys(SUCCEEDED, "green") | {Outcome.FAILED: "red"}
_STILL_PENDING: Final = (Outcome.FAILED, Outcome.NOT_ATTEMPTED)  # a backup with another outcome may be READY
_ALWAYS_COUNTED: Final = (Outcome.RESTORED, Outcome.ALREADY_RESTORED, Outcome.FAILED, Outcome.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Record:
    """One backup and its outcome."""

    backup_id: str
    region: str | None
    outcome: Outcome
    backup: Backup | None = None
    error: RestoreError | None = None
    changed: bool | None = None
    request_id: str | None = None

    @property
    def words(self) -> str:
        """The outcome in words, and whether a restored backup is exempt."""
        exempt = self.outcome is Outcome.RESTORED and self.backup and self.backup.never_expires
        return self.outcome.words + (", exempt" if exempt else "")

    @property
    def status(self) -> Status:
        """The exit status for this backup."""
        if self.error:
            return status_of(self.error)
        # Not attempted is not restored, so it is a failure as well.
        by_outcome = dict.fromkeys(SUCCEEDED, Status.DONE) | {Outcome.UNKNOWN: Status.UNKNOWN}
        return by_outcome.get(self.outcome, Status.FAILED)

    @property
    def is_final(self) -> bool:
        """Whether a retry cannot help."""
        return self.outcome is not Outcome.UNKNOWN and isinstance(self.error, _USELESS_TO_RETRY)

    @property
    def json(self) -> dict[str, Any]:
        """The record as `schema.json` describes it."""
        fields = {name: getattr(self, name) for name in ("backup_id", "region", "outcome", "changed")}
        fields |= {
            "request_id": self.request_id,
            "backup": self.backup and self.backup.model_dump(mode="json"),
        }
        if (error := self.error) is None:
            return fields | {"error": None}
        named = ("retryable", "outcome_unknown", "code", "request_id")
        detail = {"type": type(error).__name__, "message": format_error(error)}
        return fields | {"error": detail | {name: getattr(error, name, None) for name in named}}


def _table(records: Iterable[Record], width: int) -> list[str]:
    """Return one line for each backup; of more than 20, only for those that no other line is about."""
    shown = sorted(records, key=lambda record: [*Outcome].index(record.outcome))
    if len(shown) > _MAX_ROWS:
        shown = [record for record in shown if record.outcome not in SUCCEEDED]
    # Many that are still pending have a few causes, each with a line of its own, and `list` lists them.
    if sum(record.outcome in _STILL_PENDING for record in shown) > _MAX_ROWS:
        shown = [record for record in shown if record.outcome not in _STILL_PENDING]
    regions = len({each.region for each in shown}) > 1
    columns: dict[str, list[Cell]] = {
        "ID": [(printable(each.backup_id), None) for each in shown],
        "Outcome": [(each.words, _COLORS.get(each.outcome, "yellow")) for each in shown],
        "Cluster": [(format_value(each.backup and each.backup.cluster_id), None) for each in shown],
        "State": [(format_value(each.backup and each.backup.backup_state), None) for each in shown],
        "Region": [(format_value(each.region), None) for each in shown if regions],
    }
    return fit(columns, width) if shown else []


def report(
    settings: Settings, data: OutputWriter, records: Sequence[Record], stop_reason: str = ""
) -> Status:
    """End the data, print everything else, and return the exit status."""
    data.end(lambda width: _table(records, width))
    # Backups that failed for the same reason share a line, because there is only one thing to fix.
    groups: dict[object, list[Record]] = {}
    for each in records:
        state = each.backup and each.backup.backup_state
        groups.setdefault((each.outcome, cause_of(each.error) or state), []).append(each)
    for group in groups.values():
        if group[0].outcome not in (*SUCCEEDED, Outcome.NOT_ATTEMPTED):
            settings.echo_stderr(_cause(group), _COLORS.get(group[0].outcome, "yellow"))
    always = (Outcome.WOULD_RESTORE,) if settings.dry_run else _ALWAYS_COUNTED
    dry_run = ("Dry run: ", " Nothing was changed.") if settings.dry_run else ("", "")
    if all(each.outcome is not Outcome.NOT_ATTEMPTED for each in records):
        stop_reason = ""  # The run ended with its last backup, and nothing was left out.
    if not settings.dry_run:
        for line in filter(None, (stop_reason, _retry(settings, records), _retention(settings, records))):
            settings.echo_stderr(line)
    counted = Counter(each.outcome for each in records)
    counts = ", ".join(f"{counted[each]} {each.words}" for each in Outcome if counted[each] or each in always)
    where = settings.target(each.backup for each in records if each.backup)
    status = worst(each.status for each in records)
    settings.echo_stderr(f"{counts} ({where}).".join(dry_run), "yellow" if status else "green")
    return status


def _cause(group: Sequence[Record]) -> str:
    """Return one line for records with the same outcome for the same cause."""
    first, error = group[0], group[0].error
    words = "not restored" if first.outcome is Outcome.FAILED else first.outcome.words
    if error and len(group) == 1:
        return f"{words}: {format_error(error)}"
    words = f"{len(group)} {words}" if len(group) > 1 else words
    cause, unknown = "interrupted.", "" if first.outcome is not Outcome.UNKNOWN else _ANYWAY
    if error:
        cause = f"{cause_of(error)}. {format_advice(error)}".rstrip()
    elif first.outcome is Outcome.WOULD_NOT_RESTORE:
        cause = f"the state is {first.backup and first.backup.backup_state}."
    # AWS Support needs one request ID, and the JSON has the others.
    request_id = getattr(error, "request_id", None)
    request = f", request ID {request_id}" if request_id else ""
    which = "First: " if len(group) > 1 else ""
    return f"{words}: {cause}{unknown} {which}{first.backup_id}{request}."


def _retry(settings: Settings, records: Sequence[Record]) -> str:
    """Return how to retry what can be retried, if possible without a command too long to copy."""
    failed = [each for each in records if each.outcome not in SUCCEEDED]
    retried = [each for each in failed if not each.is_final]
    ids = [each.backup_id for each in retried]
    # Backups that may be READY are not found again by --all-pending.
    needed = settings.all_pending and not all(each.outcome in _STILL_PENDING for each in retried)
    if len(settings.connections) == 1 and (needed or 0 < len(ids) <= _MAX_IDS_PER_COMMAND):
        # An ID from standard input can look like an option.
        end_of_options = ["--"] if any(each.startswith("-") for each in ids) else []
        return f"To retry:\n  {settings.command('restore', *end_of_options, *ids)}"
    return "To retry, run the same command again. Restored backups are left unchanged." if ids else ""


def _retention(settings: Settings, records: Iterable[Record]) -> str:
    kept = (each.backup for each in records if each.outcome in SUCCEEDED and each.backup)
    count = sum(backup.never_expires is False for backup in kept)
    if not count or settings.never_expires:
        return ""
    return f"The retention policy can delete {count} of these again; --never-expires prevents that."

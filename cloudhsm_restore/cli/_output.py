"""Data on standard output: tables for people, and JSON as `schema.json` describes it."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import click

from ._settings import Problem, Settings, Status, in_words, let_go, printable

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from cloudhsm_restore import Backup, RestoreError

URGENT: Final = timedelta(days=1)
NOTHING: Final = "-"


# --- Words ---


def time_left_in_words(left: timedelta | None) -> str:
    """How long is left, in the two largest units, rounded down."""
    if left is None:
        return NOTHING
    minutes = int(left.total_seconds() // 60)
    if minutes < 1:
        return "any moment"
    days, hours = divmod(minutes // 60, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def account_of(backups: "Iterable[Backup]") -> str:
    """The account that owns the backups, as their ARNs have it.

    Asking STS instead would be a call to another service, with a permission and an endpoint of its own,
    which may be out of reach on the night this is needed.
    """
    arns = [backup.backup_arn.split(":") for backup in backups if backup.backup_arn]
    accounts = sorted({arn[4] for arn in arns if len(arn) > 5 and arn[4]})  # noqa: PLR2004  (arn:…:region:account:…)
    return printable(", ".join(accounts)) or "unknown"


def _in_words(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return NOTHING if value is None else printable(str(value))


def _tags_in_words(backup: "Backup") -> str:
    return printable(", ".join(f"{key}={value}" for key, value in backup.tags.items())) or NOTHING


# --- Tables ---

# What stands side by side where there is room, and otherwise below each other in one column.
_GROUPS: Final = (
    ("Backup", "Cluster"),
    ("State", "Deleted for good in"),
    ("Created",),
    ("HSM type", "Mode"),
    ("Tags",),
)
_NARROW: Final = {"Deleted for good in": 11, "Created": 10, "Tags": 10}  # may be folded, to no less
_GROWS: Final = ("Tags",)  # into the room that is left
_GAP: Final = 2


def backups_table(backups: "Iterable[Backup]", *, width: int, states: bool) -> "Table":
    """One row for each backup, fitted to the width; ``states`` adds the column with their states."""
    groups = [[title for title in group if states or title != "State"] for group in _GROUPS]
    return _fitted(groups, [_cells(backup) for backup in backups], width)


def _fitted(groups: Sequence[Sequence[str]], rows: "Sequence[Mapping[str, Text]]", width: int) -> "Table":
    """A table with all titles side by side if that fits, else the groups, else a line for each cell."""
    from rich.cells import cell_len
    from rich.text import Text

    titles = [title for group in groups for title in group]
    widest = {
        title: max(cell_len(text) for text in (title, *(row[title].plain for row in rows)))
        for title in titles
    }
    fits = _span(widest.values()) <= width
    least = (min(_NARROW.get(group[0], width), max(widest[title] for title in group)) for group in groups)
    if not fits and _span(least) > width:
        return _cards(titles, rows)
    columns = [[title] for title in titles] if fits else groups
    table = _table()
    for group in columns:
        folded = None if fits else _NARROW.get(group[0])
        fixed = None if group[0] in _GROWS else folded
        table.add_column("\n".join(group), no_wrap=not folded, overflow="fold", width=fixed)
    for number, row in enumerate(rows):
        if number and not fits:
            table.add_row()  # to tell them apart
        table.add_row(*(Text("\n").join(row[title] for title in group) for group in columns))
    return table


def _span(widths: Iterable[int]) -> int:
    """How wide columns of these widths are, side by side."""
    return sum(width + _GAP for width in widths) - _GAP


def _cards(titles: Sequence[str], rows: "Sequence[Mapping[str, Text]]") -> "Table":
    """For a terminal too narrow for a table: a line for each cell. A long one goes on in the next line."""
    from rich.text import Text

    table = _table()
    table.show_header = False
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for number, row in enumerate(rows):
        if number:
            table.add_row()  # to tell them apart
        for title in titles:
            table.add_row(Text(title, "dim"), row[title])
    return table


def _table() -> "Table":
    from rich.table import Table

    return Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")


def _cells(backup: "Backup") -> "dict[str, Text]":
    from rich.text import Text

    left = backup.time_left()
    created = backup.create_timestamp
    return {
        "Backup": Text(printable(backup.backup_id), "bold"),
        "Cluster": Text(_in_words(backup.cluster_id), "dim"),
        "State": Text(_in_words(backup.backup_state)),
        "Deleted for good in": Text(
            time_left_in_words(left), "bold red" if left is not None and left < URGENT else ""
        ),
        "Created": Text(f"{created:%Y-%m-%d %H:%M} UTC" if created else NOTHING),
        "HSM type": Text(_in_words(backup.hsm_type)),
        "Mode": Text(_in_words(backup.mode), "dim"),
        "Tags": Text(_tags_in_words(backup)),
    }


def backup_table(backup: "Backup") -> "Table":
    """Everything about one backup, a line for each field; fields that AWS added later come last."""
    from rich.text import Text

    table = _table()
    table.show_header = False
    fields: dict[str, object] = {name: getattr(backup, name) for name in type(backup).model_fields}
    fields["tag_list"] = _tags_in_words(backup)
    for name, value in (fields | (backup.model_extra or {})).items():
        table.add_row(
            Text(name.replace("_", " ").replace("tag list", "tags"), "dim"),
            Text(_in_words(value), overflow="fold"),
        )
        if name == "delete_timestamp":
            table.add_row(Text("deleted for good in", "dim"), _cells(backup)["Deleted for good in"])
    return table


# --- What became of each backup ---


class Outcome(StrEnum):
    """What became of one backup that was to be restored."""

    RESTORED = "restored"
    """It is READY."""
    ALREADY_RESTORED = "already_restored"
    """It is READY, and was READY when the command looked at it first."""
    NOT_EXEMPT = "not_exempt"
    """It is READY, but ``--never-expires`` failed: the retention policy may purge it again."""
    FAILED = "failed"
    """It was not restored."""
    UNKNOWN = "unknown"
    """It may have been restored or not."""
    NOT_TRIED = "not_tried"
    """The command ended before its turn came."""
    WOULD_RESTORE = "would_restore"
    """Dry run: it is PENDING_DELETION."""
    WOULD_NOT_RESTORE = "would_not_restore"
    """Dry run: it is not there, or in a state that cannot be restored."""
    CANNOT_SAY = "cannot_say"
    """Dry run: the command may not look at it; it would be tried all the same."""


WORDS: Final[Mapping[Outcome, tuple[str, str]]] = {
    Outcome.RESTORED: ("restored", "green"),
    Outcome.ALREADY_RESTORED: ("already fine", "green"),
    Outcome.NOT_EXEMPT: ("restored but not exempt", "yellow"),
    Outcome.FAILED: ("failed", "red"),
    Outcome.UNKNOWN: ("unknown", "yellow"),
    Outcome.NOT_TRIED: ("not tried", "yellow"),
    Outcome.WOULD_RESTORE: ("would be restored", "green"),
    Outcome.WOULD_NOT_RESTORE: ("would not be restored", "red"),
    Outcome.CANNOT_SAY: ("would be tried unseen", "yellow"),
}
"""Each outcome in words, and their colour."""


@dataclass(frozen=True, slots=True)
class Record:
    """One backup and what became of it."""

    backup_id: str
    outcome: Outcome
    backup: "Backup | None" = None
    error: "RestoreError | None" = None


def outcomes_table(records: Iterable[Record], *, width: int) -> "Table":
    """One row for each backup with its outcome, fitted to the width."""
    from rich.text import Text

    rows = [
        {
            "Backup": Text(printable(record.backup_id), "bold"),
            "Cluster": Text(_in_words(record.backup.cluster_id if record.backup else None), "dim"),
            "Outcome": Text(*WORDS[record.outcome]),
        }
        for record in records
    ]
    return _fitted([["Backup"], ["Cluster"], ["Outcome"]], rows, width)


# --- JSON: `schema.json` is the contract ---


def backup_json(backup: "Backup") -> dict[str, Any]:
    """The fields of `Backup`, all of them; those that AWS added later under AWS's own names."""
    return backup.model_dump(mode="json")


def record_json(record: Record) -> dict[str, Any]:
    """What became of one backup."""
    error = record.error
    return {
        "backup_id": record.backup_id,
        "outcome": record.outcome,
        "backup": record.backup and backup_json(record.backup),
        "error": error
        and {
            "type": type(error).__name__,
            "message": in_words(error),
            "retryable": error.retryable,
            "outcome_unknown": error.outcome_unknown,
            "code": getattr(error, "code", None),
            "request_id": getattr(error, "request_id", None),
        },
    }


class Data:
    """Standard output. In JSON lines each item is written as it comes, otherwise all at the end."""

    def __init__(self, settings: Settings, *, one: bool = False) -> None:
        """``one`` is for a single item, which is not a list of one."""
        self._settings = settings
        self._one = one
        self._items: list[dict[str, Any]] = []
        self.failure: OSError | None = None
        """Why nothing can be written any more. It must not keep anything from being restored."""

    def add(self, item: dict[str, Any]) -> None:
        """Write one item, or keep it for the end."""
        if self._settings.format == "jsonl":
            self._write(json.dumps(item))
        else:
            self._items.append(item)

    def end(self, table: "Callable[[int], Table]") -> None:
        """Write what was kept: as JSON, or the table, which is made for a width."""
        if self._settings.format == "json":
            self._write(json.dumps(self._items[0] if self._one else self._items, indent=2))
        elif self._settings.format == "table" and self._items:
            console = self._settings.console()
            with console.capture() as rendered:
                console.print(table(console.width))
            self._write("\n".join(line.rstrip() for line in rendered.get().splitlines()))

    def check(self) -> None:
        """End the command if its data could not be written. A reader that has had enough is no failure."""
        if self.failure is not None and not isinstance(self.failure, BrokenPipeError):
            what = f"Standard output cannot be written: {self.failure.strerror}."
            raise Problem(what, Status.FAILED) from self.failure

    def _write(self, text: str) -> None:
        if self.failure is not None:
            return
        try:
            click.echo(text, color=True)  # the console has decided about colours
        except OSError as error:
            self.failure = error
            let_go(sys.stdout)

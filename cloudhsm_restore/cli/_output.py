"""Data on standard output: tables, and JSON as `schema.json` describes it."""

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, cast

import click
from rich.cells import cell_len, chop_cells, set_cell_size

from cloudhsm_restore import Backup
from cloudhsm_restore._redaction import printable

from ._settings import Settings, redirect_to_devnull

_URGENT: Final = timedelta(days=1)
_GAP: Final = 2
_LEAST_TAGS: Final = 8  # a column of tags narrower than this is of no use

Cell = tuple[str, str | None]
"""A text in a table, and its color."""


def format_time_left(left: timedelta | None) -> str:
    """Return how long is left, in the two largest units, rounded down."""
    if left is None:
        return "-"
    minutes = int(left.total_seconds() // 60)
    if minutes < 1:
        return "any moment"
    days, hours = divmod(minutes // 60, 24)
    if days:
        return f"{days} d {hours} h"
    # Seconds would be out of date before they are read.
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def format_value(value: object) -> str:
    """Return a field of a backup as a table shows it."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        tags = cast("Mapping[str, str]", value)
        value = ", ".join(f"{key}={item}" for key, item in tags.items()) or None
    return "-" if value is None else printable(str(value))


def _time_left(backup: Backup) -> Cell:
    left = backup.time_left()
    return format_time_left(left), "red" if left is not None and left < _URGENT else None


# --- Tables ---


def backups_table(backups: Sequence[Backup], width: int, *, states: bool, regions: bool) -> list[str]:
    """Return one line for each backup, fitted to the width."""
    columns: dict[str, list[Cell]] = {
        "ID": [(printable(each.backup_id), None) for each in backups],
        "Time left": [_time_left(each) for each in backups],
        "Cluster": [(format_value(each.cluster_id), None) for each in backups],
        "State": [(format_value(each.backup_state), None) for each in backups if states],
        "Region": [("".join((each.backup_arn or "").split(":")[3:4]), None) for each in backups if regions],
        "Tags": [(format_value(each.tags), None) for each in backups],
        "Created": [(format_value(each.create_timestamp)[:16], None) for each in backups],
        "HSM type": [(format_value(each.hsm_type), None) for each in backups],
        "Mode": [(format_value(each.mode), None) for each in backups],
    }
    return fit(columns, width)


def fit(columns: Mapping[str, Sequence[Cell]], width: int) -> list[str]:
    """Return a header and one line for each row, with the columns that fit. Columns can be empty.

    The first two columns are always there: below each other if they do not fit side by side.
    """
    used, kept = -_GAP, dict[str, list[str]]()
    # In the order of the columns: those that a user needs least come last, and are dropped first.
    filled = {title: cells for title, cells in columns.items() if cells}
    for title, cells in filled.items():
        widest = max(cell_len(text) for text in (title, *(text for text, _ in cells)))
        # The tags stay longer than state and region, but may have to be cropped.
        later = _GAP + _LEAST_TAGS if title in ("State", "Region") and "Tags" in filled else 0
        room = width - used - _GAP - later
        if title == "Tags" and room >= _LEAST_TAGS:
            widest = min(widest, room)
        if widest <= room:
            used += _GAP + widest
            kept[title] = [_styled(_sized(text, widest), color) for text, color in ((title, None), *cells)]
    if [*kept][:2] == [*filled][:2]:
        return [(" " * _GAP).join(row).rstrip() for row in zip(*kept.values(), strict=True)]
    rows = zip(*[*filled.values()][:2], strict=True)
    return [_styled(part, color) for row in rows for text, color in row for part in chop_cells(text, width)]


def _sized(text: str, width: int) -> str:
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def _styled(text: str, color: str | None) -> str:
    return click.style(text, fg=color) if color else text


def backup_table(backup: Backup) -> Iterator[str]:
    """Yield a line for each field of a backup; fields that AWS added later come last."""
    fields: dict[str, object] = {name: getattr(backup, name) for name in type(backup).model_fields}
    fields |= {"tag_list": backup.tags, "time_left": _time_left(backup)[0]} | (backup.model_extra or {})
    for name, value in fields.items():
        # Not fitted to the width: a terminal wraps an ARN so that it can still be copied.
        yield f"{name.replace('_', ' ').replace('tag list', 'tags'):<18}{format_value(value)}"


# --- Writing ---


class OutputWriter:
    """Standard output. JSON Lines are written one by one, everything else at the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._items: list[dict[str, Any]] = []
        self.failure: OSError | None = None
        """Why standard output cannot be written any more. `check` raises it, when all else is done."""

    def add(self, item: dict[str, Any]) -> None:
        """Write one item, or keep it for the end."""
        if self._settings.format == "jsonl":
            self._write(json.dumps(item))
        else:
            self._items.append(item)

    def end(self, table: Callable[[int], Iterable[str]], *, one: bool = False) -> None:
        """Write what was kept: as JSON, or as a table for the width. ``one`` item is not a list."""
        if self._settings.format == "json":
            self._write(json.dumps(self._items[0] if one else self._items, indent=2))
        elif self._settings.format == "table" and self._items:
            text = "".join(f"{line}\n" for line in table(shutil.get_terminal_size().columns))
            self._write(text if self._settings.colors_on(sys.stdout) else click.unstyle(text))

    def check(self) -> None:
        """Raise if anything could not be written."""
        if self.failure is not None:
            raise self.failure

    def _write(self, text: str) -> None:
        # After the first failure nothing is written: a line would follow a gap.
        if self.failure is not None or not text:
            return
        try:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
        except OSError as error:
            self.failure = error
            redirect_to_devnull(sys.stdout)

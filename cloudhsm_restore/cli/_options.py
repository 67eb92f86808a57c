"""The options of all commands, and the types of their values. They are kept in `Settings`."""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click
from click.core import ParameterSource

from ._settings import Settings

_UNITS: Final[Mapping[str, int]] = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
# `BackupState` has them too, but importing it here would make `--help` slow. A test compares the two.
STATES: Final = ("CREATE_IN_PROGRESS", "READY", "DELETED", "PENDING_DELETION")


def _duration(value: Any) -> float:
    """Parse a number of seconds, or a number with a unit: 90, 5m, 2h, 3d."""
    # Neither a sign nor an exponent: `nan` would pass every comparison, and `1e300` overflows.
    match = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)([smhd]?)", str(value))
    if match is None:
        raise click.BadParameter(f"{value!r} is not a duration such as 90, 5m, or 2h.")
    return float(match[1]) * _UNITS[match[2]]


def _moment(value: str) -> datetime:
    """Parse a time, in UTC unless it has an offset, or a duration before now."""
    with suppress(ValueError, OverflowError):
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    with suppress(click.BadParameter, OverflowError):
        return datetime.now(UTC) - timedelta(seconds=_duration(value))
    raise click.BadParameter(f"{value!r} is neither a time such as 2026-01-31T22:00Z nor one such as 2h ago.")


def _tag(value: str) -> str:
    if "=" not in value.lstrip("="):
        raise click.BadParameter(f"{value!r} is not of the form KEY=VALUE.")
    return value


def _complete_profile(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    from botocore.session import Session

    with suppress(Exception):  # a broken configuration file: a shell that completes cannot report it
        return [name for name in Session().available_profiles if name.startswith(incomplete)]
    return []


def _store(context: click.Context, parameter: click.Parameter, value: object) -> None:
    """Keep an option. One after the command overrides one before it."""
    # Completion creates contexts of its own, without the settings of `main`.
    settings = context.ensure_object(Settings)
    name = parameter.name or ""
    if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
        setattr(settings, name, value)


def _option(*names: str, **attributes: Any) -> click.Option:
    return click.Option(names, expose_value=False, callback=_store, **attributes)


def _flag(*names: str, help: str) -> click.Option:  # noqa: A002  (click's name)
    return _option(*names, is_flag=True, help=help)


# Each help text is short enough for `--help` at 80 columns, and the default comes last.
REGION: Final = _option("--region", metavar="NAME", help="AWS Region. Default: resolved by boto3.")
COLOR: Final = _flag("--no-color", help="Disable colors. Same as setting NO_COLOR.")
_PROFILE: Final = "AWS profile. Default: resolved by boto3."
_OUTPUT: Final = "Output format. Default: table on a terminal, otherwise JSON Lines."
GLOBAL: Final = [
    REGION,
    _option("--profile", metavar="NAME", shell_complete=_complete_profile, help=_PROFILE),
    _option("--endpoint-url", metavar="URL", help="Override the service endpoint URL."),
    _option("-o", "--output", type=click.Choice(["table", "json", "jsonl"]), help=_OUTPUT),
    COLOR,
    _flag("-v", "--verbose", help="Log requests and responses to standard error."),
]

_TAG: Final = "Only backups with this tag. Repeat to require several tags."
_AFTER: Final = (
    "Only backups deleted after this time, such as 2026-01-31T22:00Z, or 2h or 3d ago. Computed as the time "
    "of permanent deletion minus 7 days."
)
_BEFORE: Final = "Only backups deleted before this time."
_FILTERS: Final = [
    _option("--cluster", "clusters", metavar="ID", multiple=True, help="Only backups of this cluster."),
    _option("--tag", "tags", metavar="KEY=VALUE", multiple=True, type=_tag, help=_TAG),
    _option("--deleted-after", metavar="TIME", type=_moment, help=_AFTER),
    _option("--deleted-before", metavar="TIME", type=_moment, help=_BEFORE),
]

_STATE: Final = "Only backups in this state. Default: PENDING_DELETION."
_CHOICE: Final = click.Choice(STATES, case_sensitive=False)
LIST: Final = [
    _flag("--all", "every", help="Include backups in every state."),
    _option("--state", "states", metavar="STATE", type=_CHOICE, multiple=True, help=_STATE),
    *_FILTERS,
    _flag("--all-regions", help="List the backups of every region."),
    _flag("--exit-code", help="Exit with status 5 if backups are pending deletion."),
    *GLOBAL,
]

_EXEMPT: Final = "Also exempt the backups from the retention policy, which may otherwise delete them again."
_WORKERS: Final = "Number of concurrent restores. [default: 8]"
_TIMEOUT: Final = "How long to keep retrying each backup: seconds, or 5m, 2h. [default: 5m]"
RESTORE: Final = [
    _flag("--all-pending", help="Restore all backups in PENDING_DELETION that match the filters."),
    *_FILTERS,
    _flag("--never-expires", help=_EXEMPT),
    _flag("--dry-run", help="Show what would be restored, and where, without restoring."),
    _flag("-y", "--yes", help="Skip the confirmation prompt."),
    _option("--workers", metavar="NUMBER", type=click.IntRange(min=1), help=_WORKERS),
    _option("--timeout", metavar="TIME", type=_duration, help=_TIMEOUT),
    *GLOBAL,
]

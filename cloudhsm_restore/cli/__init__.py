"""The command line: what can be restored, what is in it, and the way back.

Stands on the public API alone, and decides nothing about restoring. Each command imports what it needs when
it runs, so that ``--help``, ``--version`` and completion stay light.
"""

import math
import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import get_completion_class

from cloudhsm_restore import __version__

from ._serve import serve
from ._settings import (
    DEFAULT_TIMEOUT,
    DEFAULT_WORKERS,
    Problem,
    Settings,
    Status,
    let_go,
)

if TYPE_CHECKING:
    from cloudhsm_restore import Backup, RestoreClient

_Command = TypeVar("_Command", bound=Callable[..., Any])

_NAME: Final = "cloudhsm-restore"
_COMPLETE: Final = "_CLOUDHSM_RESTORE_COMPLETE"  # the variable by which a shell asks for completions


# --- Options that several commands have ---


def _remember(context: click.Context, parameter: click.Parameter, value: object) -> None:
    """Keep an option in the settings. One that stands after the command comes before one in front of it."""
    settings = context.ensure_object(Settings)
    name = parameter.name or ""
    if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
        setattr(settings, name, value)


def _option(*names: str, **how: Any) -> Callable[[_Command], _Command]:
    return click.option(*names, expose_value=False, callback=_remember, **how)


def _options(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_region = _option("--region", metavar="NAME", help="The AWS Region. Without it, as boto3 finds it.")
_color = _option("--no-color", is_flag=True, help="No colours; NO_COLOR in the environment does the same.")
_verbose = _option("--verbose", is_flag=True, help="Say on standard error what is called and answered.")
_everywhere = _options(
    _region,
    _option("--profile", metavar="NAME", help="The AWS profile, as with boto3."),
    _option("--endpoint-url", metavar="URL", help="Another endpoint, as with boto3."),
    _option(
        "--output",
        type=click.Choice(["table", "json", "jsonl"]),
        help="The form of the data. Default: a table on a terminal, elsewhere JSON lines.",
    ),
    _color,
    _verbose,
)


def _as_state(_: click.Context, parameter: click.Parameter, values: Sequence[str]) -> Sequence[str]:
    if not values:
        return values
    from cloudhsm_restore import BackupState

    states = [BackupState(value.upper()) for value in values]
    for state in states:
        if not state.is_known:  # AWS would answer with an empty list, which looks like good news
            raise click.BadParameter(f"{state} is none of {', '.join(BackupState)}.", param=parameter)
    return states


def _as_tag(_: click.Context, parameter: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    for value in values:
        if "=" not in value.lstrip("="):
            raise click.BadParameter(f"{value!r} is not of the form KEY=VALUE.", param=parameter)
    return {key: value for key, _, value in (value.partition("=") for value in values)}


_filters = _options(
    click.option("--cluster", "clusters", metavar="ID", multiple=True, help="Only backups of this cluster."),
    click.option(
        "--tag",
        "tags",
        metavar="KEY=VALUE",
        multiple=True,
        callback=_as_tag,
        help="Only backups with this tag; with several, all of them.",
    ),
)


class _Seconds(click.FloatRange):
    """A number of seconds. What is no number passes every comparison."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value} is no number of seconds.", param, ctx)
        return seconds


def _find(
    client: "RestoreClient", states: Sequence[str], clusters: Sequence[str], tags: dict[str, str]
) -> "list[Backup]":
    """The backups that pass the filters, soonest to be lost first."""
    found = {
        backup.backup_id: backup
        for backup in client.describe_backups(states=states, cluster_ids=clusters)
        if tags.items() <= backup.tags.items()
    }
    return sorted(found.values(), key=_urgency)


def _urgency(backup: "Backup") -> tuple[bool, float]:
    if backup.delete_timestamp is not None:
        return False, backup.delete_timestamp.timestamp()
    return True, -backup.create_timestamp.timestamp() if backup.create_timestamp else 0.0


# --- Commands ---


@click.group(
    name=_NAME,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  cloudhsm-restore list                              what can be restored, and for how long
  cloudhsm-restore restore backup-a2b3c4d5e6f        get one backup back
  cloudhsm-restore restore --all-pending --dry-run   what would be restored, in what account
  cloudhsm-restore demo                              see it work, without an AWS account

\b
Exit status: 0 all done; 1 something failed; 2 wrong usage; 3 outcome unknown for at least one backup;
4 configuration or credentials; 130 interrupted.""",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@_everywhere
def cli() -> None:
    """Get AWS CloudHSM backups back that are pending deletion.

    A deleted backup can be restored for 7 days. Restoring takes it back to READY; it makes no cluster and
    touches no HSM.
    """


@cli.command(
    name="list",
    epilog="""\b
Examples:
  cloudhsm-restore list --cluster cluster-a2b3c4d5e6f --tag Env=prod
  cloudhsm-restore list --output jsonl | cloudhsm-restore restore - --yes
  cloudhsm-restore list --output json | jq -r '.[].backup_id'""",
)
@click.option("--all", "every", is_flag=True, help="Backups in every state.")
@click.option(
    "--state",
    "states",
    metavar="STATE",
    multiple=True,
    callback=_as_state,
    help="Only backups in this state. Default: PENDING_DELETION.",
)
@_filters
@_everywhere
@click.pass_obj
def list_(
    settings: Settings, every: bool, states: Sequence[str], clusters: Sequence[str], tags: dict[str, str]
) -> None:
    """List what can be restored, soonest to be lost first."""
    if every and states:
        raise click.UsageError("--all and --state exclude each other.")
    from cloudhsm_restore import BackupState

    from ._output import Data, account_of, backup_json, backups_table

    chosen = () if every else states or (BackupState.PENDING_DELETION,)
    with settings.client() as client:
        backups = _find(client, chosen, clusters, tags)
    data = Data(settings)
    for backup in backups:
        data.add(backup_json(backup))
    with_states = every or bool(states)
    data.end(lambda width: backups_table(backups, width=width, states=with_states))
    data.check()
    if not backups:
        conditions = [f"is {' or '.join(chosen)}"] if chosen else []
        conditions += ["passes the filters"] if clusters or tags else []
        what = f" that {' and '.join(conditions)}" if conditions else ""
        settings.say(f"There is no backup{what} in {settings.place}. Is that the right place?")
    elif settings.format == "table":
        restorable = sum(backup.is_restorable for backup in backups)
        settings.say(
            f"\n{len(backups)} in account {account_of(backups)}, {settings.place}."
            + (f"\nTo restore one: {settings.command('restore')} ID" if restorable else "")
        )


@cli.command(epilog="\b\nExample:\n  cloudhsm-restore show backup-a2b3c4d5e6f --output json")
@click.argument("backup_id", metavar="ID")
@_everywhere
@click.pass_obj
def show(settings: Settings, backup_id: str) -> None:
    """Show everything about one backup."""
    from ._output import Data, backup_json, backup_table

    with settings.client() as client:
        backup = client.get_backup(backup_id)
    data = Data(settings, one=True)
    data.add(backup_json(backup))
    data.end(lambda _: backup_table(backup))
    data.check()


@cli.command(
    epilog="""\b
Examples:
  cloudhsm-restore restore backup-a2b3c4d5e6f backup-b3c4d5e6f7a
  cloudhsm-restore restore --all-pending --cluster cluster-a2b3c4d5e6f --never-expires
  cloudhsm-restore restore --all-pending --yes --output json > result.json
  cloudhsm-restore restore - --yes < ids.txt"""
)
@click.argument("backup_ids", metavar="[ID]...", nargs=-1)
@click.option("--all-pending", is_flag=True, help="All that are PENDING_DELETION and pass the filters.")
@_filters
@click.option(
    "--never-expires",
    is_flag=True,
    help="Exempt them from the retention policy afterwards. Without it, the policy may purge a restored "
    "backup again that is older than the policy allows.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be restored, and where.")
@click.option("--yes", is_flag=True, help="Do not ask before more than one is restored.")
@click.option(
    "--workers",
    metavar="NUMBER",
    type=click.IntRange(min=1),
    default=DEFAULT_WORKERS,
    show_default=True,
    help="How many at a time.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=_Seconds(min=0),
    default=DEFAULT_TIMEOUT,
    show_default=True,
    help="How long to go on trying for each backup.",
)
@_everywhere
@click.pass_obj
def restore(
    settings: Settings,
    /,
    backup_ids: Sequence[str],
    all_pending: bool,
    clusters: Sequence[str],
    tags: dict[str, str],
    **options: Any,
) -> int:
    """Restore backups: by ID, all that are pending, or with - those on standard input.

    It can be repeated safely: a backup that is READY already is left as it is. Standard input has one ID a
    line and lines with a comment, which begin with #, or JSON as the commands list and restore write it.
    """
    if backup_ids and all_pending:
        raise click.UsageError("IDs or --all-pending, not both.")
    if not backup_ids and not all_pending:
        raise click.UsageError("Say which: IDs, - for those on standard input, or --all-pending.")
    if (clusters or tags) and not all_pending:
        raise click.UsageError("--cluster and --tag go with --all-pending.")
    from cloudhsm_restore import BackupState

    from ._restoring import Options, check_id, read_ids, restore

    given = [word if word == "-" else check_id(word, "One of the IDs") for word in backup_ids]
    ids = [id_ for word in given for id_ in (read_ids(sys.stdin) if word == "-" else [word])]
    if backup_ids and not ids:
        raise Problem("No ID came on standard input.", Status.USAGE)
    filters = [("--cluster", cluster) for cluster in clusters]
    filters += [("--tag", f"{key}={value}") for key, value in tags.items()]
    return restore(
        settings,
        None if all_pending else list(dict.fromkeys(ids)),
        lambda client: _find(client, (BackupState.PENDING_DELETION,), clusters, tags),
        Options(**options, filters=tuple(chain.from_iterable(filters)) if all_pending else None),
        from_stdin="-" in backup_ids,
    )


@cli.command()
@_color
@click.pass_obj
def demo(settings: Settings) -> None:
    """See a deleted backup come back: on this machine only, without an AWS account."""
    from ._demo import tell

    tell(settings.console())


cli.add_command(_region(serve))


@cli.command(
    epilog="""\b
Set up, once:
  bash  cloudhsm-restore completion bash > ~/.local/share/bash-completion/completions/cloudhsm-restore
  zsh   cloudhsm-restore completion zsh > a file that your ~/.zshrc sources
  fish  cloudhsm-restore completion fish > ~/.config/fish/completions/cloudhsm-restore.fish"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that teaches a shell to complete this command."""
    complete = get_completion_class(shell)
    if complete is not None:
        click.echo(complete(cli, {}, _NAME, _COMPLETE).source())


# --- The program ---


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    _prepare_streams()
    try:
        status: int | None = cli.main(arguments, complete_var=_COMPLETE, standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as problem:
        problem.show()
        return problem.status if isinstance(problem, Problem) else problem.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        return Status.INTERRUPTED
    except BrokenPipeError:
        let_go(sys.stdout)
        return Status.DONE
    return status or Status.DONE


def _prepare_streams() -> None:
    """Nothing about the three streams may end a restore half way."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream: object = getattr(sys, name)
        if stream is None:  # the caller has closed it
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115  (stays open)
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # whatever a tag or an ID has in it

"""The command line: find backups that can be restored, look at them, and restore them.

Built on the public API; it decides nothing about restoring. Each command imports what it needs when it
runs, so that ``--help``, ``--version`` and completion start quickly.
"""

import os
import sys
from collections.abc import Sequence
from typing import Final

import click
from click.shell_completion import get_completion_class

from cloudhsm_restore import __version__

from ._options import COLOR, GLOBAL, LIST, REGION, RESTORE
from ._serve import serve
from ._settings import Settings, Status, worst

_NAME: Final = "cloudhsm-restore"
_COMPLETE: Final = "_CLOUDHSM_RESTORE_COMPLETE"  # the variable with which a shell requests completions


@click.group(
    name=_NAME,
    params=[*GLOBAL],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "-V", "--version", message="%(prog)s %(version)s")
def cli() -> None:
    """Restore AWS CloudHSM backups that are pending deletion.

    A deleted backup can be restored for 7 days. Restoring returns it to READY. It does not create a cluster
    or touch an HSM.

    \b
    Examples:
      cloudhsm-restore list                              what can be restored, and for how long
      cloudhsm-restore restore backup-a2b3c4d5e6f        restore one backup
      cloudhsm-restore restore --all-pending --dry-run   what would be restored, in which account
      cloudhsm-restore demo                              see it work, without an AWS account

    \b
    Exit status: 0 success; 1 failure; 2 usage error; 3 outcome unknown for at least one backup;
    4 configuration or credentials; 5 backups are pending deletion (list --exit-code); 130 interrupted.
    """


@cli.command("list", params=[*LIST])
@click.pass_obj
def list_(settings: Settings) -> Status:
    """List the backups that can be restored, earliest deletion first.

    \b
    Examples:
      cloudhsm-restore list --cluster cluster-a2b3c4d5e6f --tag Env=prod
      cloudhsm-restore list --deleted-after 12h
      cloudhsm-restore list --all-regions -o jsonl | cloudhsm-restore restore - --yes
      cloudhsm-restore list -o json | jq -r '.[].backup_id'
    """
    if settings.every and settings.states:
        raise click.UsageError("--all and --state cannot be combined.")
    from ._finding import echo_nothing_found, find, find_in_all_regions
    from ._output import OutputWriter, backups_table

    chosen = () if settings.every else settings.states or ("PENDING_DELETION",)
    failed: list[Status] = []
    # A column that has the same value in every row is left out.
    regions, states = settings.all_regions, settings.every or bool(settings.states)
    if regions:
        backups, failed = find_in_all_regions(settings, chosen)
    else:
        backups = find(settings, chosen, settings.connect())
    data = OutputWriter(settings)
    for backup in backups:
        data.add(backup.model_dump(mode="json"))
    data.end(lambda width: backups_table(backups, width, states=states, regions=regions))
    data.check()
    restorable = any(backup.is_restorable for backup in backups)
    if not backups:
        echo_nothing_found(settings, chosen)
    elif settings.format == "table":
        settings.echo_stderr(f"{len(backups)} in {settings.target(backups)}.")
        if restorable and not regions:
            settings.echo_stderr(f"To restore a backup: {settings.command('restore')} ID")
    return Status.PENDING if settings.exit_code and restorable else worst(failed)


@cli.command(params=[*GLOBAL])
@click.argument("backup_id", metavar="ID")
@click.pass_obj
def show(settings: Settings, backup_id: str) -> None:
    """Show everything about one backup, by its ID or ARN.

    \b
    Example:
      cloudhsm-restore show backup-a2b3c4d5e6f --output json
    """
    from ._finding import parse_local_id
    from ._output import OutputWriter, backup_table

    backup_id = parse_local_id(settings, backup_id, "The argument")
    backup = settings.connect().client.get_backup(backup_id)
    data = OutputWriter(settings)
    data.add(backup.model_dump(mode="json"))
    data.end(lambda _: backup_table(backup), one=True)
    data.check()


@cli.command(params=[*RESTORE])
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.pass_obj
def restore(settings: Settings, ids: Sequence[str]) -> Status:
    """Restore backups by ID or ARN, from standard input (-), or all that are pending.

    Safe to repeat: backups that are already READY are left unchanged. Standard input is one ID per line
    (# starts a comment), or JSON as written by list and restore; each backup is restored in its own region.

    \b
    Examples:
      cloudhsm-restore restore backup-a2b3c4d5e6f backup-b3c4d5e6f7a
      cloudhsm-restore restore --all-pending --cluster cluster-a2b3c4d5e6f --never-expires
      cloudhsm-restore restore --all-pending --deleted-after 12h --yes --output json > result.json
      cloudhsm-restore restore - --yes < ids.txt
    """
    # Checked before anything is imported: a usage error comes at once.
    if bool(ids) == settings.all_pending:
        what = "backup IDs, - to read them from standard input, or --all-pending"
        raise click.UsageError(f"Specify exactly one of: {what}.")
    if settings.filtered and not settings.all_pending:
        what = "--cluster, --tag, --deleted-after, and --deleted-before"
        raise click.UsageError(f"{what} require --all-pending.")
    from ._restoring import restore

    return restore(settings, ids)


@cli.command(params=[COLOR])
@click.pass_obj
def demo(settings: Settings) -> None:
    """Show a deleted backup being restored, on a local service, without an AWS account."""
    from rich.console import Console

    from ._demo import run

    console = Console(highlight=False, emoji=False, markup=False)
    run(console if settings.colors_on(sys.stdout) else Console(color_system=None, highlight=False))


# The options of all commands are in one module, and `serve` has only this one of them.
serve.params.append(REGION)
cli.add_command(serve)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a shell completion script.

    \b
    Set up, once:
      bash  cloudhsm-restore completion bash > ~/.local/share/bash-completion/completions/cloudhsm-restore
      zsh   cloudhsm-restore completion zsh > a file that your ~/.zshrc sources
      fish  cloudhsm-restore completion fish > ~/.config/fish/completions/cloudhsm-restore.fish
    """
    complete = get_completion_class(shell)
    if complete is not None:
        click.echo(complete(cli, {}, _NAME, _COMPLETE).source())


# --- The program ---


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    settings = Settings()
    try:
        returned = cli.main(arguments, complete_var=_COMPLETE, standalone_mode=False, obj=settings)
        sys.stdout.flush()
        return returned or Status.DONE  # noqa: TRY300  (the handlers return other ones)
    except (KeyboardInterrupt, click.Abort):
        settings.echo_stderr("Interrupted.")
        return Status.INTERRUPTED
    except click.ClickException as error:
        ended = error
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and _COMPLETE in os.environ:
            raise
        from ._messages import command_error

        # click ends the process itself if the reader of a pipe is gone.
        cause = BrokenPipeError() if isinstance(error, SystemExit) else error
        ended = command_error(settings, cause)
    status: int = getattr(ended, "status", ended.exit_code)
    if status:
        ended.show()
    return status

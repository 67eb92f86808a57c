"""The command ``serve``: the local service as a process."""

import shlex
import signal
import threading
from typing import TYPE_CHECKING, Final

import click

from ._settings import CommandError, Settings, Status

if TYPE_CHECKING:
    from cloudhsm_restore.testing import BackupFields, LocalCloudHsm

_PORTS: Final = 4566, 0  # the one that the documentation shows, else whichever is free


def _local_service(region: str | None, port: int, *others: int) -> "LocalCloudHsm":
    from cloudhsm_restore.testing import LocalCloudHsm

    try:
        return LocalCloudHsm(port=port, **({"region_name": region} if region else {}))
    except OSError as error:
        if others:
            return _local_service(region, *others)
        what = f"Cannot listen on 127.0.0.1:{port}: {error.strerror}."
        raise CommandError(what, Status.CONFIGURATION) from error


@click.command(epilog="\b\nExample:\n  cloudhsm-restore serve --port 8080 --pending 100")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Default: 4566, or a free port if 4566 is in use."
)
@click.option(
    "--pending",
    metavar="NUMBER",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="Number of backups to create in PENDING_DELETION.",
)
@click.pass_obj
def serve(settings: Settings, port: int | None, pending: int) -> None:
    """Run a local CloudHSM backup service on 127.0.0.1 until Ctrl-C.

    The first of its backups is backup-a2b3c4d5e6f and has the tag Env=prod.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    undo = ""
    try:
        service = _local_service(settings.region, *(_PORTS if port is None else (port,)))
        with service:
            for number in range(pending):
                fields: BackupFields = {"backup_state": "PENDING_DELETION"}
                if number == 0:
                    # which the documentation uses
                    fields["backup_id"] = "backup-a2b3c4d5e6f"
                    fields["tag_list"] = [{"Key": "Env", "Value": "prod"}]
                service.add_backup(**fields)
            undo = f"unset {shlex.join(service.environ)}"
            click.echo(f"export {shlex.join(f'{name}={value}' for name, value in service.environ.items())}")
            settings.echo_stderr(
                "Run the line above in another shell to point AWS tools at this service. "
                "Press Ctrl-C to stop it."
            )
            threading.Event().wait()
    except KeyboardInterrupt:
        settings.echo_stderr(f"Stopped. To undo the export, run:\n{undo}" if undo else "Stopped.")

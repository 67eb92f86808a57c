"""The command ``serve``: the local service as a process, for tests in any language."""

import os
import re
import shlex
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

import click

from ._settings import CommandError, Settings, Status

if TYPE_CHECKING:
    from cloudhsm_restore.testing import BackupFields, LocalCloudHsm, ReceivedRequest

_PORTS: Final = 4566, 0  # the one in the documentation, else any free one
_IDS: Final = "backup-a2b3c4d5e6f", "backup-c4d5e6f7a2b", "backup-d5e6f7a2b3c"  # those in the documentation
_FAULT: Final = re.compile(r"(?P<fault>[^:@]+)(:(?P<times>[0-9]{1,6}))?(@(?P<operation>\w+))?")
_SAVED: Final = "CLOUDHSM_RESTORE_SAVED_"


def _as_faults(_: click.Context, parameter: click.Parameter, values: Sequence[str]) -> list[dict[str, Any]]:
    faults: list[dict[str, Any]] = []
    for value in values:
        match = _FAULT.fullmatch(value)
        if match is None:
            raise click.BadParameter(
                f"{value!r} is not of the form NAME[:TIMES][@OPERATION].", param=parameter
            )
        if match["fault"] == "connection-refused":
            raise click.BadParameter(
                "connection-refused would end the service. Stop it with Ctrl-C instead.", param=parameter
            )
        faults.append(
            {"fault": match["fault"], "operation": match["operation"], "times": int(match["times"] or 1)}
        )
    return faults


@click.command(
    epilog="""\b
Examples:
  cloudhsm-restore serve --port 8080 --pending 100
  cloudhsm-restore serve --fault drop-after-work@RestoreBackup --fault throttled:5
  curl http://127.0.0.1:4566/_faults --json '{"fault": "throttled", "times": 5}'"""
)
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
@click.option(
    "--fault",
    "faults",
    metavar="NAME[:TIMES][@OPERATION]",
    multiple=True,
    callback=_as_faults,
    help="Inject a fault into the next requests. Repeat to inject several, in order.",
)
@click.pass_obj
def serve(settings: Settings, port: int | None, pending: int, faults: Iterable[Mapping[str, Any]]) -> None:
    """Run a local CloudHSM backup service on 127.0.0.1 until Ctrl-C.

    The first of its backups is backup-a2b3c4d5e6f and has the tag Env=prod. Each request is one line on
    standard error: time, operation, backup ID, HTTP status, and injected fault.
    """
    # Requests are printed here and not by the threads that serve them, which would wait for a terminal or a
    # pipe that is not read.
    requests: SimpleQueue[ReceivedRequest | None] = SimpleQueue()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # Windows has no SIGHUP.
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, _: _stop(requests, number))
    with _local_service(settings.region, requests.put, *(_PORTS if port is None else (port,))) as service:
        _add_backups(service, pending)
        _inject(service, faults)
        export, undo = _exports(service.environ)
        click.echo(export)
        settings.echo_stderr(
            "Run the line above in another shell to point AWS tools at this service. Press Ctrl-C to stop it."
        )
        while (request := requests.get()) is not None:
            settings.echo_stderr(_line(request))
    settings.echo_stderr(f"Stopped. To undo the export, run:\n{undo}")


def _stop(requests: "SimpleQueue[ReceivedRequest | None]", number: int) -> None:
    # An exception could come between two steps of the loop, and the line of a request would be lost.
    requests.put(None)
    signal.signal(number, signal.default_int_handler)  # A second Ctrl-C ends a wait for a full pipe.


def _local_service(
    region: str | None, on_request: "Callable[[ReceivedRequest], None]", port: int, *others: int
) -> "LocalCloudHsm":
    from cloudhsm_restore.testing import LocalCloudHsm

    options: dict[str, Any] = {"region_name": region} if region else {}
    try:
        return LocalCloudHsm(port=port, on_request=on_request, **options)
    except OSError as error:
        if others:
            return _local_service(region, on_request, *others)
        message = f"Cannot listen on 127.0.0.1:{port}: {error.strerror}."
        raise CommandError(message, Status.CONFIGURATION) from error


def _add_backups(service: "LocalCloudHsm", pending: int) -> None:
    for number in range(pending):
        fields: BackupFields = {"backup_state": "PENDING_DELETION"}
        if number < len(_IDS):
            fields["backup_id"] = _IDS[number]
        if number == 0:
            fields["tag_list"] = [{"Key": "Env", "Value": "prod"}]
        service.add_backup(**fields)


def _inject(service: "LocalCloudHsm", faults: Iterable[Mapping[str, Any]]) -> None:
    for fault in faults:
        try:
            service.inject(**fault)
        except ValueError as error:
            raise click.BadParameter(f"{error}.", param_hint="'--fault'") from None


def _line(request: "ReceivedRequest") -> str:
    time = request.time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    # The method and the path of a request that is not an AWS operation take the place of operation and ID.
    about = (
        request.operation.split(" ", 1)
        if " " in request.operation
        else [request.operation, request.backup_id]
    )
    # All of it comes from the request, so it can contain anything, such as a line break.
    words = [
        ascii(str(word))[1:-1] if word is not None else "-"
        for word in (*about, request.status, request.fault)
    ]
    return " ".join([time, *words])


def _exports(variables: Mapping[str, str]) -> tuple[str, str]:
    """Return the shell command that sets the variables, and the one that restores what was there before.

    The shell itself saves its values, because some are credentials, which must not be printed. They are saved
    with a leading ``=``, so that an empty one differs from none. Running the first command again is harmless.
    """
    present = [name for name in variables if name in os.environ]
    saved = [f'{_SAVED}{name}="${{{_SAVED}{name}-${{{name}+=${name}}}}}"' for name in present]
    new = [shlex.quote(f"{name}={value}") for name, value in variables.items()]
    undo = f"unset {' '.join(name for name in variables if name not in present)}"
    if present:
        undo += (
            f'; for name in {" ".join(present)}; do eval "saved=\\${_SAVED}$name"; '
            f'unset "$name" "{_SAVED}$name"; [ -z "$saved" ] || export "$name$saved"; done; unset name saved'
        )
    return f"export {' '.join([*saved, *new])}", undo

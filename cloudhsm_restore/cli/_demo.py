"""The story of one backup, told on the local service: ``cloudhsm-restore demo``."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.pretty import Pretty
from rich.text import Text
from rich.theme import Theme

from cloudhsm_restore import Backup, BackupState, InvalidRequestError, ResourceNotFoundError
from cloudhsm_restore.testing import Fault, LocalCloudHsm

from ._output import backups_table
from ._settings import Problem, Status

if TYPE_CHECKING:
    from mypy_boto3_cloudhsmv2 import CloudHSMV2Client

_THEME: Final = Theme({"repr.tag_name": "bold green", "repr.bool_false": "italic"})  # red is for failures
_ID: Final = "backup-a2b3c4d5e6f"
_UNKNOWN_ID: Final = "backup-7777777zzzz"


def tell(console: Console) -> None:
    """Delete a backup and get it back, and show what two mistakes and one lost answer look like."""
    with LocalCloudHsm() as service, service.client() as client, console.use_theme(_THEME):
        boto3_client = service.boto3_client()
        service.add_backup(backup_id=_ID, tag_list=[{"Key": "Env", "Value": "prod"}])
        _say(console, "Everything here runs on this machine. No AWS account is touched.", "bold green")
        _say(console, f"A local CloudHSM service listens on {service.endpoint_url}.", "dim")

        _heading(console, "Somebody deletes a backup, with plain boto3")
        _delete(console, boto3_client)

        _heading(console, "What is pending, and how long it can still be restored")
        _code(console, 'client.describe_backups(states=["PENDING_DELETION"])')
        pending = list(client.describe_backups(states=["PENDING_DELETION"]))
        _expect([backup.backup_id for backup in pending], [_ID])
        _result(console, backups_table(pending, width=console.width - 4, states=False))

        _heading(console, "RestoreClient brings it back, as a typed object")
        _code(console, f'client.restore_backup("{_ID}")')
        restored = client.restore_backup(_ID)
        _expect((restored.backup_id, restored.backup_state), (_ID, BackupState.READY))
        _result(console, Pretty(restored))

        _heading(console, "Two mistakes: restoring it again, and an ID that nobody knows")
        _code(console, f'client.restore_backup("{_ID}")')
        _failure(console, InvalidRequestError, lambda: client.restore_backup(_ID))
        _code(console, f'client.restore_backup("{_UNKNOWN_ID}")')
        _failure(console, ResourceNotFoundError, lambda: client.restore_backup(_UNKNOWN_ID))

        _heading(console, "The same backup again, and this time the answer is lost on the way")
        _delete_and_inject(console, service, boto3_client)
        refused = boto3_client.exceptions.CloudHsmInvalidRequestException
        _code(console, f'boto3_client.restore_backup(BackupId="{_ID}")')
        _failure(console, refused, lambda: boto3_client.restore_backup(BackupId=_ID))
        _expect(service.backups[_ID].backup_state, BackupState.READY)
        _say(console, "boto3 tried again by itself, and calls a restore that worked a failure.", "yellow")
        _delete_and_inject(console, service, boto3_client)
        _code(console, f'client.ensure_restored("{_ID}").backup_state')
        ensured: Backup = client.ensure_restored(_ID)
        _expect(ensured.backup_state, BackupState.READY)
        _result(console, Pretty(ensured.backup_state))
        _say(console, "ensure_restored had the same bad luck, looked, and tells the truth.", "green")
        console.print()


def _delete(console: Console, boto3_client: "CloudHSMV2Client") -> None:
    _code(console, f'backup = boto3_client.delete_backup(BackupId="{_ID}")["Backup"]')
    _code(console, 'backup["BackupState"]')
    backup = boto3_client.delete_backup(BackupId=_ID)["Backup"]
    _result(console, Pretty(backup.get("BackupState")))


def _delete_and_inject(console: Console, service: LocalCloudHsm, boto3_client: "CloudHSMV2Client") -> None:
    _delete(console, boto3_client)
    service.inject(Fault.DROP_AFTER_WORK, operation="RestoreBackup")
    _say(console, "Fault injected: RestoreBackup will do its work, and its answer is dropped.", "yellow")


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, "bold"))


def _code(console: Console, code: str) -> None:
    console.print(Text.assemble((">>> ", "dim"), (code, "cyan")), soft_wrap=True)


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style))


def _result(console: Console, result: RenderableType) -> None:
    console.print(Padding(result, (0, 0, 0, 4), expand=False))


def _failure(console: Console, expected: type[Exception], call: Callable[[], object]) -> None:
    try:
        call()
    except expected as error:
        _result(console, Text(type(error).__name__, "bold red"))
        if console.is_terminal:
            _result(console, Text(str(error)))
        else:  # one line, as it is
            console.print(f"    {error}", soft_wrap=True)
    else:
        raise Problem(f"The demo went wrong: {expected.__name__} was not raised.", Status.FAILED)


def _expect(seen: object, expected: object) -> None:
    if seen != expected:
        raise Problem(f"The demo went wrong: it saw {seen} instead of {expected}.", Status.FAILED)

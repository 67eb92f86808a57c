"""The story of one backup, on the local service: ``cloudhsm-restore demo``."""

import sys
from traceback import format_exception_only
from typing import Any, Final

from rich.console import Console
from rich.highlighter import ReprHighlighter
from rich.padding import Padding
from rich.pretty import pretty_repr
from rich.text import Text

from cloudhsm_restore.testing import LocalCloudHsm

_INDENT: Final = 4
_ID: Final = "backup-a2b3c4d5e6f"
_DELETE: Final = f'>>> boto3_client.delete_backup(BackupId="{_ID}")["Backup"]["BackupState"]'
_INJECT: Final = '>>> service.inject("drop-after-work", operation="RestoreBackup")'
# Headings, Python that is run as it is shown, and remarks.
_STORY: Final = f"""\
# A backup is deleted, with plain boto3
{_DELETE}
# What is pending, and how long it can still be restored
>>> [pending] = client.describe_backups(states=["PENDING_DELETION"])
>>> pending.backup_id, str(pending.time_left())
# RestoreClient restores it, and returns a typed object
>>> client.restore_backup("{_ID}")
# Two errors: restoring it twice, and an unknown ID
>>> client.restore_backup("{_ID}")
>>> client.restore_backup("backup-7777777zzzz")
# The same backup again, but the response is lost
{_DELETE}
{_INJECT}
>>> boto3_client.restore_backup(BackupId="{_ID}")
boto3 retried, and reported a successful restore as a failure.
{_DELETE}
{_INJECT}
>>> client.ensure_restored("{_ID}").backup_state
ensure_restored lost the response too, called DescribeBackups, and reported the real state.
# What to do next
cloudhsm-restore serve         a local service like this one, for any AWS tool
cloudhsm-restore list --help   how to find what can be restored in your account
docs/start.md                  this story step by step, and the documentation"""


def run(console: Console) -> None:
    """Run the story, and print each step with Python's own result."""
    with LocalCloudHsm() as service, service.client() as client:
        service.add_backup(backup_id=_ID, tag_list=[{"Key": "Env", "Value": "prod"}])
        names = {"service": service, "client": client, "boto3_client": service.boto3_client()}
        console.print(Text("Everything here runs on this machine. No AWS account is touched.", "bold green"))
        console.print(Text(f"A local CloudHSM service listens on {service.endpoint_url}.", "dim"))
        for line in _STORY.splitlines():
            if line.startswith(">>> "):
                _execute(console, line.removeprefix(">>> "), names)
            elif line.startswith("# "):
                console.print(Text("\n" + line.removeprefix("# "), "bold"))
            else:
                console.print(Text(line, "yellow"))


def _execute(console: Console, code: str, names: dict[str, Any]) -> None:
    def show(result: object) -> None:
        if result is not None:
            text = pretty_repr(result, max_width=console.width - _INDENT)
            console.print(Padding(ReprHighlighter()(text), (0, 0, 0, _INDENT), expand=False))

    # Not wrapped, so that it can be copied.
    console.print(Text.assemble((">>> ", "dim"), (code, "cyan")), soft_wrap=True)
    try:
        # As Python's own prompt does it: the hook gets the value of an expression.
        sys.displayhook = show
        exec(compile(code, "<demo>", "single"), names)  # noqa: S102  (the code above, and no other)
    except Exception as error:  # noqa: BLE001  (shown as Python shows it)
        text = Text("".join(format_exception_only(error)).rstrip(), "red")
        console.print(Padding(text, (0, 0, 0, _INDENT), expand=False))

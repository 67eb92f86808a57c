"""What the how-to pages promise and running their blocks one by one does not show."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import botocore.session
import pytest

from cloudhsm_restore.testing import LocalCloudHsm

_PAGES = Path(__file__).parent.parent / "docs" / "how-to"


def _blocks(page: str, language: str) -> list[str]:
    text = (_PAGES / page).read_text(encoding="utf-8")
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert blocks
    return blocks


def test_the_page_on_unit_tests_is_a_module_that_pytest_runs(tmp_path: Path) -> None:
    """The blocks of the page, one after the other, are a test module; its fixtures do what they say."""
    module = tmp_path / "test_page.py"
    with_fixtures = """
def test_stub(stub: RestoreStubber) -> None:
    stub.add_backup()
    stub.client.restore_backup("backup-a2b3c4d5e6f")


def test_service(service: LocalCloudHsm) -> None:
    backup = service.add_backup(backup_state="PENDING_DELETION")
    assert undo_deletion(RestoreClient(), backup.backup_id) == f"{backup.backup_id} is back"


def test_stub_not_asked(stub: RestoreStubber) -> None:
    stub.add_backup()
"""
    page = _blocks("unit-tests.md", "python")
    module.write_text("\n\n".join([*page, with_fixtures]), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(module)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    tests = sum(block.count("\ndef test_") + block.startswith("def test_") for block in page)
    # Only the last fails, and that as its fixture ends.
    assert f"{tests + 3} passed, 1 error" in run.stdout, run.stdout
    assert "ERROR at teardown of test_stub_not_asked" in run.stdout


MESSAGES: dict[str, tuple[str, str, str, str]] = {
    # what the page quotes: the state of the backup, the fault and where it strikes, and more of the command
    "restored but not exempt": (
        "PENDING_DELETION", "access-denied", "ModifyBackupAttributes", "--never-expires",
    ),
    "AccessDenied": ("PENDING_DELETION", "access-denied", "RestoreBackup", ""),
    "CloudHsmResourceNotFoundException": ("", "", "", ""),
    "its state is DELETED": ("DELETED", "", "", ""),
    "not READY after": ("CREATE_IN_PROGRESS", "", "", "--timeout 0"),
    "unexpected response": ("READY", "captive-portal", "DescribeBackups", ""),
    "UnexpectedResponseError": ("PENDING_DELETION", "captive-portal", "", "--timeout 0"),
    "Could not connect": ("PENDING_DELETION", "connection-refused", "", ""),
}  # fmt: skip


@pytest.mark.parametrize("quoted", MESSAGES)
def test_the_messages_that_the_runbook_explains_are_those_that_come(
    quoted: str, service: LocalCloudHsm
) -> None:
    """Whoever looks for a message of the command in the table finds it."""
    state, fault, operation, options = MESSAGES[quoted]
    backup_id = service.add_backup(backup_state=state).backup_id if state else "backup-7777777zzzz"
    if fault == "connection-refused":
        service.refuse()
    elif fault:
        service.inject(fault, operation=operation or None, times=1 if operation else 9)
    command = [sys.executable, "-m", "cloudhsm_restore", "restore", backup_id, *options.split()]
    run = subprocess.run(
        command, env=os.environ | service.environ, capture_output=True, text=True, check=False
    )
    assert run.returncode in ([3] if quoted == "UnexpectedResponseError" else [0, 1])
    assert quoted in run.stderr


def test_every_message_of_the_runbook_is_tried() -> None:
    """The table of messages has no row that the test above leaves out."""
    page = (_PAGES / "get-a-backup-back.md").read_text(encoding="utf-8")
    table = page.partition("| the message | what it means |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines()[2:]]
    quoted = [each.rstrip("…") for row in rows for each in re.findall(r"`([^`]+)`", row)]
    assert sorted(quoted) == sorted(MESSAGES)


def test_every_action_in_the_policies_is_one_that_cloudhsm_has() -> None:
    """A policy with an action that does not exist is accepted by IAM and allows nothing."""
    operations = botocore.session.Session().get_service_model("cloudhsmv2").operation_names
    actions: set[str] = set()
    for block in _blocks("iam-policy.md", "json"):
        for statement in json.loads(block).get("Statement", []):
            action = statement["Action"]
            actions.update([action] if isinstance(action, str) else action)
    assert actions == {
        f"cloudhsm:{operation}"
        for operation in ("DeleteBackup", "DescribeBackups", "ModifyBackupAttributes", "RestoreBackup")
    }
    assert {action.removeprefix("cloudhsm:") for action in actions} <= set(operations)

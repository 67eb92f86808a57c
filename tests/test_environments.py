"""A restore works in every environment of Python: each test starts an interpreter."""

import os
import subprocess
import sys
import zipapp
from collections.abc import Mapping
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Final

import pytest

import cloudhsm_restore

PACKAGE: Final = Path(cloudhsm_restore.__file__).parent
C_LOCALE: Final = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}

RESTORE: Final = """
import cloudhsm_restore
from cloudhsm_restore.testing import LocalCloudHsm

with LocalCloudHsm() as service:
    deleted = service.add_backup(backup_state="PENDING_DELETION")
    service.inject("drop-after-work", operation="RestoreBackup")
    with service.client() as client:
        restored = client.ensure_restored(deleted.backup_id, never_expires=True)
        try:
            client.restore_backup(deleted.backup_id)
        except cloudhsm_restore.InvalidRequestError as error:
            message = str(error)
assert "restore_backup" not in message
assert cloudhsm_restore.Backup.model_json_schema()["properties"]["BackupId"]
print(restored.backup_state, restored.never_expires, cloudhsm_restore.__file__)
"""

NOTHING_IS_WRITTEN: Final = """
import os, sys

def hook(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if path != os.devnull and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(f"{path} is written to")
    if event in {"os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink", "os.truncate"}:
        raise OSError(f"{event} {arguments}")

sys.addaudithook(hook)
"""


def run(
    *arguments: str, environment: Mapping[str, str] = os.environ, changes: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run an interpreter with these arguments; an empty change removes a variable."""
    whole = {**environment, **(changes or {})}
    return subprocess.run(
        [sys.executable, *arguments],
        env={name: value for name, value in whole.items() if value},
        capture_output=True, text=True, encoding="utf-8", timeout=120, check=False, cwd=PACKAGE.parent,
    )  # fmt: skip


def check(done: subprocess.CompletedProcess[str], package: Path = PACKAGE) -> None:
    """Check that a process restored the backup, and printed nothing else."""
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"READY True {package / '__init__.py'}\n"
    assert not done.stderr


@pytest.mark.parametrize(
    "options",
    [["-O"], ["-OO"], ["-W", "error"], ["-X", "dev", "-W", "error"], ["-bb"], ["-X", "utf8=0"]],
    ids=" ".join,
)
def test_interpreter_options(options: list[str]) -> None:
    """A restore prints no warning without asserts and docstrings, and in development mode."""
    check(run(*options, "-c", RESTORE))


@pytest.mark.parametrize(
    "changes",
    [{"HOME": ""}, {"HOME": "/nowhere"}, C_LOCALE, {"TZ": "Asia/Kolkata"}],
    ids=str,
)  # fmt: skip
def test_environment_variables(changes: dict[str, str]) -> None:
    """A restore works without HOME, in the C locale, and in another time zone."""
    check(run("-c", RESTORE, changes=changes))


def test_an_empty_environment() -> None:
    """A restore works without any environment variable."""
    check(run("-c", RESTORE, environment={}))


def test_a_zipapp(tmp_path: Path) -> None:
    """A restore works from a zip file, where ``__file__`` is not a path of the file system."""
    source = tmp_path / "application"
    copytree(PACKAGE, source / "cloudhsm_restore", ignore=ignore_patterns("__pycache__"))
    (source / "__main__.py").write_text(RESTORE, encoding="utf-8")
    packed = tmp_path / "application.pyz"
    zipapp.create_archive(source, packed)
    check(run(str(packed)), packed / "cloudhsm_restore")


def test_nothing_is_written() -> None:
    """A restore opens no file for writing and creates none, so a read-only file system is enough."""
    no_coverage = dict.fromkeys((name for name in os.environ if name.startswith("COVERAGE_")), "")
    check(run("-B", "-c", NOTHING_IS_WRITTEN + RESTORE, changes=no_coverage))


def test_the_hook_detects_a_written_file(tmp_path: Path) -> None:
    """The hook of the test above raises when a file is opened for writing."""
    done = run("-B", "-c", f"{NOTHING_IS_WRITTEN}open({str(tmp_path / 'file')!r}, 'w')")
    assert "is written to" in done.stderr


def test_the_command_line_in_the_c_locale() -> None:
    """The demo succeeds on a terminal without UTF-8."""
    done = run("-m", "cloudhsm_restore", "demo", changes={**C_LOCALE, "PYTHONIOENCODING": ""})
    assert done.returncode == 0, done.stderr
    assert "READY" in done.stdout

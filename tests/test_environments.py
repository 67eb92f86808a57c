"""A restore works wherever Python does: each test has an interpreter of its own."""

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
            refused = str(error)
assert "restore_backup" not in refused
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
    """What an interpreter with these arguments came to; an empty change takes a variable away."""
    whole = {**environment, **(changes or {})}
    return subprocess.run(
        [sys.executable, *arguments],
        env={name: value for name, value in whole.items() if value},
        capture_output=True, text=True, encoding="utf-8", timeout=120, check=False, cwd=PACKAGE.parent,
    )  # fmt: skip


def check(done: subprocess.CompletedProcess[str], where: Path = PACKAGE) -> None:
    """It restored, and printed nothing but that."""
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"READY True {where / '__init__.py'}\n"
    assert not done.stderr


@pytest.mark.parametrize(
    "options",
    [["-O"], ["-OO"], ["-W", "error"], ["-X", "dev", "-W", "error"], ["-bb"], ["-X", "utf8=0"]],
    ids=" ".join,
)
def test_options(options: list[str]) -> None:
    """Without asserts and docstrings, with warnings as errors, in development mode: no word of warning."""
    check(run(*options, "-c", RESTORE))


@pytest.mark.parametrize(
    "changes",
    [{"HOME": ""}, {"HOME": "/nowhere"}, C_LOCALE, {"TZ": "Asia/Kolkata"}],
    ids=str,
)  # fmt: skip
def test_variables(changes: dict[str, str]) -> None:
    """Without a home, in the C locale, in another time zone."""
    check(run("-c", RESTORE, changes=changes))


def test_an_environment_that_is_empty() -> None:
    """With no variable at all."""
    check(run("-c", RESTORE, environment={}))


def test_a_zipapp(tmp_path: Path) -> None:
    """From a zip file, which a path of ``__file__`` does not lead into."""
    source = tmp_path / "application"
    copytree(PACKAGE, source / "cloudhsm_restore", ignore=ignore_patterns("__pycache__"))
    (source / "__main__.py").write_text(RESTORE, encoding="utf-8")
    packed = tmp_path / "application.pyz"
    zipapp.create_archive(source, packed)
    check(run(str(packed)), packed / "cloudhsm_restore")


def test_nothing_is_written() -> None:
    """A file system that is read-only is no hindrance: nothing is opened for writing, and nothing is made."""
    no_coverage = dict.fromkeys((name for name in os.environ if name.startswith("COVERAGE_")), "")
    check(run("-B", "-c", NOTHING_IS_WRITTEN + RESTORE, changes=no_coverage))


def test_writing_would_be_noticed(tmp_path: Path) -> None:
    """The check above can fail."""
    done = run("-B", "-c", f"{NOTHING_IS_WRITTEN}open({str(tmp_path / 'file')!r}, 'w')")
    assert "is written to" in done.stderr


def test_the_command_line_in_the_c_locale() -> None:
    """The demo prints what a terminal without UTF-8 can show, and does not fail on the rest."""
    done = run("-m", "cloudhsm_restore", "demo", changes={**C_LOCALE, "PYTHONIOENCODING": ""})
    assert done.returncode == 0, done.stderr
    assert "READY" in done.stdout

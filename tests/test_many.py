"""restore_backups as a process: killed and started again, and within bounds."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cloudhsm_restore import BackupState
from cloudhsm_restore.testing import LocalCloudHsm


def start(service: LocalCloudHsm, home: Path) -> "subprocess.Popen[str]":
    """A process that restores all that is pending."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), **service.environ}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.many"],
        env=environment,
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        text=True,
    )


def told(lines: list[str]) -> list[str]:
    """The IDs that the process has told are restored; a line that was cut short tells nothing."""
    return [line.split()[0] for line in lines if line.endswith(" restored\n")]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX")
def test_killed_and_started_again(service: LocalCloudHsm, tmp_path: Path) -> None:
    """Killed in the middle of 2,000 and started again: all are restored, and none is reported twice."""
    ids = {service.add_backup(backup_state=BackupState.PENDING_DELETION).backup_id for _ in range(2_000)}
    with start(service, tmp_path) as first:
        assert first.stdout is not None
        lines = [first.stdout.readline() for _ in range(700)]
        first.send_signal(signal.SIGKILL)
        lines += first.stdout.readlines()
    before = told(lines)
    assert first.returncode == -signal.SIGKILL
    assert 700 <= len(before) < 2_000
    with start(service, tmp_path) as second:
        assert second.stdout is not None
        after = told(second.stdout.readlines())
    assert second.returncode == 0
    assert {backup.backup_state for backup in service.backups.values()} == {BackupState.READY}
    assert len(before) + len(after) == len({*before, *after})
    untold = ids - {*before, *after}
    assert len(untold) <= 16  # finished or in flight, and not yet printed: two for each worker


def test_memory_does_not_grow(service: LocalCloudHsm, tmp_path: Path) -> None:
    """The memory of a process that restores 1,000 backups grows by less than 20 MiB."""
    for _ in range(1_000):
        service.add_backup(backup_state=BackupState.PENDING_DELETION)
    with start(service, tmp_path) as process:
        assert process.stdout is not None
        lines = process.stdout.readlines()
    assert len(told(lines)) == 1_000
    assert float(lines[-1].split()[1]) < 20

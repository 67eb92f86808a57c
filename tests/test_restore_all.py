"""Restores in a process: it can be ended and started again, and its memory is bounded."""

import json
import logging
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cloudhsm_restore import BackupState
from cloudhsm_restore.testing import LocalCloudHsm

from . import processes


def start(service: LocalCloudHsm, home: Path) -> "subprocess.Popen[str]":
    """Start a process that restores all pending backups."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), **service.environ}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.restore_all"],
        env=environment,
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        text=True,
    )


def restored_ids(lines: list[str]) -> list[str]:
    """Return the IDs that the process reported as restored; a truncated line reports nothing."""
    return [line.split()[0] for line in lines if line.endswith(" restored\n")]


@pytest.mark.parametrize("name", processes.INTERRUPTS)
def test_an_interrupted_process_can_be_started_again(name: str, tmp_path: Path) -> None:
    """After the end of a process another one restores the rest, and each report is true."""
    assert not list(processes.misreports(name, random.Random(name), tmp_path, backups=150))


def test_a_false_report_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The check of the reports finds a backup that was not restored, and those that are missing."""
    record = json.dumps({"backup_id": "backup-a2b3c4d5e6f", "outcome": "restored"}) + "\n"

    def interrupt(_: dict[str, str], wait: Callable[[], object]) -> tuple[int, list[str]]:
        return 130, [record, record]

    monkeypatch.setitem(processes.INTERRUPTS, "SIGTERM", interrupt)
    found = list(processes.misreports("SIGTERM", random.Random(1), tmp_path, backups=4))
    assert "a backup is reported twice, or is another one" in found
    assert "backup-a2b3c4d5e6f is reported as restored, and is not" in found
    assert "a backup is not reported" in found


def test_memory_is_bounded(service: LocalCloudHsm, tmp_path: Path) -> None:
    """The memory of a process that restores 1,000 backups grows by less than 20 MiB."""
    for _ in range(1_000):
        service.add_backup(backup_state=BackupState.PENDING_DELETION)
    with start(service, tmp_path) as process:
        assert process.stdout is not None
        lines = process.stdout.readlines()
    assert len(restored_ids(lines)) == 1_000
    assert float(lines[-1].split()[1]) < 20


FORK = """
import os, signal, sys, threading
import boto3
from cloudhsm_restore import RestoreClient
sent, hold = threading.Event(), threading.Event()

def keep_in_flight(**_):
    sent.set()
    hold.wait()

client = boto3.client("cloudhsmv2")
client.meta.events.register("before-send.cloudhsm-v2", keep_in_flight)
results = RestoreClient(client).restore_backups(["backup-1"])
thread = threading.Thread(target=list, args=[results])
thread.start()
sent.wait()
if (child := os.fork()) == 0:
    signal.alarm(10)
    sys.exit(0)
status = os.waitpid(child, 0)[1]
hold.set()
thread.join()
sys.exit(status != 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_exits(service: LocalCloudHsm) -> None:
    """A child process does not wait at its end for a request that a thread of its parent has in flight."""
    done = subprocess.run([sys.executable, "-c", FORK], env={**service.environ}, timeout=60, check=False)
    assert done.returncode == 0
    assert len(service.requests) == 1


CLOSE_IN_CHILD = """
import os, signal, sys
import boto3
from cloudhsm_restore import RestoreClient
results = RestoreClient(boto3.client("cloudhsmv2")).restore_backups(sys.argv[1:], timeout=8)
next(results)
if (child := os.fork()) == 0:
    signal.alarm(10)
    results.close()
    os._exit(0)
status = os.waitpid(child, 0)[1]
results.close()
sys.exit(status != 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_can_close_the_results(service: LocalCloudHsm) -> None:
    """A child process does not wait for the restores that run in threads of its parent."""
    creating = BackupState.CREATE_IN_PROGRESS
    states = (BackupState.PENDING_DELETION, creating, creating)
    ids = [service.add_backup(backup_state=state).backup_id for state in states]
    command = [sys.executable, "-c", CLOSE_IN_CHILD, *ids]
    assert subprocess.run(command, env={**service.environ}, timeout=60, check=False).returncode == 0


class SlowHandler(logging.Handler):
    """Keeps the IDs of the backups whose outcome was logged, slowly."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the ID."""
        if "cloudhsm_outcome" in record.__dict__:
            time.sleep(0.1)
            self.ids.append(record.__dict__["cloudhsm_backup_id"])


def test_a_generator_that_is_closed_has_logged_every_outcome(service: LocalCloudHsm) -> None:
    """Once ``close`` returns, the log has the outcome of every restore whose result was not returned."""
    ids = [service.add_backup(backup_state=BackupState.PENDING_DELETION).backup_id for _ in range(6)]
    # Or the first result could be yielded before another restore has started.
    service.inject("delay", "RestoreBackup", len(ids), seconds=0.1)
    handler, logger = SlowHandler(), logging.getLogger("cloudhsm_restore")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with service.client() as client:
            results = client.restore_backups(ids, max_workers=3)
            returned = next(results).backup_id
            while len(service.requests) < 2:
                time.sleep(0.01)
            results.close()
            logged = set(handler.ids)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    restored = {backup.backup_id for backup in service.backups.values() if backup.backup_state == "READY"}
    # One that was cancelled before it was sent can be in the log, too.
    assert restored - {returned} <= logged
    assert restored - {returned}

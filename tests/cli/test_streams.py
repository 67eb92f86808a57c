"""Standard streams that are closed, full, or not read: one line and a status for every command."""

import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from cloudhsm_restore.testing import Fault, LocalCloudHsm

from ..terminal import CLI, Ran, environment, run
from .helpers import pending, states

COMMAND = shlex.join(CLI)


def bash(script: str, env: dict[str, str]) -> Ran:
    """Run a script."""
    return run("-c", script, env=env, python=("bash",))


WRITING = [
    "--help",
    "--version",
    "list --help",
    "list",
    "list -o json",
    "list -o table",
    "show backup-a2b3c4d5e6f",
    "restore backup-a2b3c4d5e6f",
    "restore --dry-run backup-a2b3c4d5e6f",
    "completion bash",
    "demo",
    "serve --port 0",
]


@pytest.mark.parametrize("arguments", WRITING)
@pytest.mark.parametrize(
    ("target", "cause"), [("/dev/full", "No space left on device"), ("&-", "Bad file descriptor")]
)
def test_standard_output_that_cannot_be_written(
    service: LocalCloudHsm, env: dict[str, str], arguments: str, target: str, cause: str
) -> None:
    """With a full disk or a closed standard output, every command ends with one more line, and status 1."""
    service.add_backup(backup_id="backup-a2b3c4d5e6f", backup_state="PENDING_DELETION")
    ran = bash(f"{COMMAND} {arguments} >{target}", env)
    assert ran.status == 1
    assert ran.err.splitlines()[-1] == f"Error: Cannot write to standard output: {cause}."
    assert "Traceback" not in ran.err
    assert len(ran.err.splitlines()) <= 4
    if arguments.startswith("restore backup"):
        assert states(service) == {"READY": 1}


@pytest.mark.parametrize("arguments", WRITING)
def test_reader_that_is_gone(service: LocalCloudHsm, env: dict[str, str], arguments: str) -> None:
    """A reader that needs no more is not a failure: `list | head -1` ends quietly, with status 0."""
    service.add_backup(backup_id="backup-a2b3c4d5e6f", backup_state="PENDING_DELETION")
    ran = bash(f"(sleep 0.3; {COMMAND} {arguments}; echo $? >&2) | true", env)
    assert ran.err.splitlines()[-1] == "0"
    assert "Traceback" not in ran.err
    assert "BrokenPipe" not in ran.err


def test_head(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """`list | head -1` with more output than a pipe holds."""
    pending(service, 400)
    ran = bash(f"{COMMAND} list | head -1; echo ${{PIPESTATUS[0]}}", env)
    assert ran.out.splitlines()[1:] == ["0"]
    assert ran.err == ""


@pytest.mark.parametrize(("target", "status"), [("closed", 0), ("/dev/full", 1), ("&- 2>&- <&-", 1)])
def test_restore_continues_without_standard_output(
    service: LocalCloudHsm, env: dict[str, str], target: str, status: int
) -> None:
    """Standard output that cannot be written keeps nothing from being restored or reported."""
    pending(service, 20)
    command = f"{COMMAND} restore --all-pending --yes"
    command += " | true; echo ${PIPESTATUS[0]}" if target == "closed" else f" >{target}; echo $?"
    ran = bash(command, env)
    assert states(service) == {"READY": 20}
    assert "20 restored" in ran.err or "2>&-" in target
    assert "Traceback" not in ran.err
    assert ran.out.split() == [str(status)]


def test_restore_continues_without_standard_error(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """Standard error that is closed early keeps nothing from being restored, and the status stays true."""
    pending(service, 20)
    service.inject(Fault.ACCESS_DENIED, "RestoreBackup")
    command = f"{COMMAND} --verbose restore {' '.join(service.backups)} --yes 2>&1 >/dev/null | true"
    ran = bash(f"{command}; echo ${{PIPESTATUS[0]}}", env)
    assert ran.out.split() == ["1"]
    assert states(service) == {"READY": 19, "PENDING_DELETION": 1}


def test_signal_while_the_reader_blocks(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """Two signals end a restore whose output is not read any more."""
    pending(service, 400)
    command = [*CLI, "restore", "--all-pending", "--yes", "--workers", "20"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        before = -1
        while before != (before := len(service.requests)) or before < 100:
            time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        time.sleep(0.1)
        out = process.stdout.read()
        assert process.wait(20) == 130
    assert out.endswith(b"}\n")
    assert out.count(b"\n") == 400


def test_ascii(tmp_path: Path, service: LocalCloudHsm) -> None:
    """A terminal that knows only ASCII gets escapes and no error."""
    pending(service, tag_list=[{"Key": "Name", "Value": "支払い"}])
    env = environment(tmp_path, **service.environ, PYTHONIOENCODING="ascii")
    ran = run("list", "-o", "table", env=env)
    assert (ran.status, "Name=\\u652f" in ran.out) == (0, True)

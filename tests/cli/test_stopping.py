"""Signals and waiting: what is sent, shown and reported."""

import json
import random
import re
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from cloudhsm_restore.cli import _display
from cloudhsm_restore.testing import Fault, LocalCloudHsm

from ..terminal import CLI, Terminal, run
from .helpers import ESCAPE, Call, outcomes, pending, states, summary, valid

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def restores(service: LocalCloudHsm) -> int:
    """Count the RestoreBackup requests."""
    return sum(request.operation == "RestoreBackup" for request in service.requests)


def check_truth(service: LocalCloudHsm, reported: dict[str, str]) -> None:
    """Compare the outcomes with the service: each backup is reported once, and as it is."""
    assert set(reported) == set(service.backups)
    called = {each.backup_id for each in service.requests if each.operation == "RestoreBackup"}
    for backup_id, outcome in reported.items():
        state = service.backups[backup_id].backup_state
        assert outcome in {"restored", "already_restored", "failed", "unknown", "not_attempted"}
        if outcome in ("restored", "already_restored"):
            assert state == "READY"
        elif outcome != "unknown":
            assert state == "PENDING_DELETION"
        assert outcome != "not_attempted" or backup_id not in called


@pytest.mark.parametrize("sent", SIGNALS)
def test_stopping_while_throttled(service: LocalCloudHsm, env: dict[str, str], sent: signal.Signals) -> None:
    """After a signal no request is sent, it takes less than a second, and throttled means not restored."""
    pending(service, 40)
    service.inject(Fault.THROTTLED, "RestoreBackup", times=9999)
    arguments = ["restore", "--all-pending", "--yes", "--output", "json"]
    with subprocess.Popen(
        [*CLI, *arguments], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while restores(service) < 8:
            time.sleep(0.01)
        process.send_signal(sent)
        started, before = time.monotonic(), len(service.requests)
        out, err = process.communicate(timeout=20)
        took = time.monotonic() - started
    assert process.returncode == 130
    assert took < 1
    assert len(service.requests) <= before + 8
    counted = Counter(valid("record", record)["outcome"] for record in json.loads(out))
    assert set(counted) == {"failed", "not_attempted"}
    assert counted["failed"] + counted["not_attempted"] == 40
    assert "Stopping (press Ctrl-C again to stop immediately)\n" in err
    assert "ThrottlingException" in err
    assert f"{counted['failed']} failed, 0 unknown, {counted['not_attempted']} not attempted" in err


@pytest.mark.parametrize("seed", range(12))
def test_signals_at_random_moments(service: LocalCloudHsm, env: dict[str, str], seed: int) -> None:
    """Whenever one or two signals come, each backup is reported once, and as it is."""
    chance = random.Random(seed)
    ids = pending(service, 40)
    faults = [Fault.THROTTLED, Fault.DELAY, Fault.DROP_AFTER_WORK, Fault.INTERNAL_FAILURE_AFTER_WORK]
    service.inject_randomly(seed, 0.5, faults, seconds=0.2)
    arguments = ["restore", *ids, "--yes", "--output", chance.choice(["json", "jsonl"])]
    with subprocess.Popen([*CLI, *arguments], env=env, stdout=subprocess.PIPE, text=True) as process:
        while not service.requests:
            time.sleep(0.002)
        time.sleep(chance.random())
        for _ in range(chance.choice([1, 1, 2])):
            process.send_signal(chance.choice(SIGNALS))
            time.sleep(chance.random() / 10)
        out, _ = process.communicate(timeout=20)
    assert process.returncode in ({0, 130} if out.count("restored") == 40 else {130})
    written = json.loads(out) if out.startswith("[") else [json.loads(line) for line in out.splitlines()]
    assert len(written) == 40
    service.close()  # what is in flight after a second signal ends here
    check_truth(service, {valid("record", each)["backup_id"]: each["outcome"] for each in written})


def test_requests_in_flight_end(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """After the first signal, requests in flight end, and are reported by their responses."""
    pending(service, 60)
    service.inject(Fault.DELAY, "RestoreBackup", times=60, seconds=0.3)
    with Terminal("restore", "--all-pending", "--yes", env=env, stdout=subprocess.PIPE) as terminal:
        stdout = terminal.process.stdout
        assert stdout is not None
        lines = [stdout.readline() for _ in range(9)]
        terminal.press("\x03")
        lines += stdout.readlines()
        assert terminal.end() == 130
    reported = outcomes(b"".join(lines).decode())
    check_truth(service, reported)
    counted = Counter(reported.values())
    assert set(counted) == {"restored", "not_attempted"}
    assert counted["restored"] > 9
    text = " ".join(terminal.text.split())
    counts = f"{counted['restored']} restored, 0 already restored, 0 failed, 0 unknown"
    assert text.endswith(summary(service, f"{counts}, {counted['not_attempted']} not attempted"))
    assert "To retry, run the same command again." in text


def test_second_signal(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """A second signal does not wait: what is in flight is unknown, everything else is not attempted."""
    pending(service, 60)
    service.inject(Fault.DELAY, "RestoreBackup", times=60, seconds=60)
    arguments = ("restore", "--all-pending", "--yes", "--workers", "2", "--output", "json")
    with Terminal(*arguments, env=env, stdout=subprocess.PIPE) as terminal:
        while restores(service) < 2:
            time.sleep(0.01)
        terminal.press("\x03")
        terminal.read(until="Stopping (press Ctrl-C again to stop immediately)")
        terminal.press("\x03")
        assert terminal.process.stdout is not None
        written = json.load(terminal.process.stdout)
        assert terminal.end() == 130
    reported = {valid("record", each)["backup_id"]: each["outcome"] for each in written}
    assert Counter(reported.values()) == {"unknown": 2, "not_attempted": 58}
    check_truth(service, reported)
    text = " ".join(terminal.text.split())
    assert "2 unknown: interrupted. May have been restored anyway. First: backup-" in text
    assert text.endswith(summary(service, "0 failed, 2 unknown, 58 not attempted"))


def test_signals_that_are_ignored(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """A signal that the caller ignores, as nohup does, stays ignored."""
    pending(service, 10)
    service.inject(Fault.DELAY, "RestoreBackup", times=10, seconds=0.2)
    command = ["bash", "-c", f'trap "" HUP; exec {" ".join(CLI)} restore --all-pending --yes --workers 2']
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        while not restores(service):
            time.sleep(0.01)
        process.send_signal(signal.SIGHUP)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert set(outcomes(out).values()) == {"restored"}


@pytest.mark.parametrize("sent", SIGNALS)
def test_signal_while_listing(service: LocalCloudHsm, env: dict[str, str], sent: signal.Signals) -> None:
    """A signal while list waits for the service is status 130 and one line."""
    service.inject(Fault.DELAY, seconds=60)
    with Terminal("list", env=env) as terminal:
        while not service.requests:
            time.sleep(0.01)
        terminal.process.send_signal(sent)
        assert terminal.end() == 130
    assert terminal.text.strip() == "Interrupted."


@pytest.mark.parametrize("sent", SIGNALS)
def test_signal_before_anything_was_sent(
    service: LocalCloudHsm, env: dict[str, str], sent: signal.Signals
) -> None:
    """A signal at the confirmation is reported like any other: nothing was attempted."""
    ids = pending(service, 3)
    with Terminal("restore", *ids, env=env, stdout=subprocess.PIPE) as terminal:
        terminal.read(until="[y/N]")
        terminal.process.send_signal(sent)
        assert terminal.process.stdout is not None
        assert outcomes(terminal.process.stdout.read().decode()) == dict.fromkeys(ids, "not_attempted")
        assert terminal.end() == 130
    assert states(service) == {"PENDING_DELETION": 3}


# --- Waiting ---


def test_bar(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """On a terminal a bar shows the progress, and is removed at the end."""
    pending(service, 20, never_expires=True)
    service.inject(Fault.DELAY, "RestoreBackup", times=20, seconds=0.2)
    with Terminal("restore", "--all-pending", "--yes", env=env) as terminal:
        terminal.read(until="/20")
        assert terminal.end() == 0
    assert re.search(r"Restoring \[#+ +\] \d+/20\r", terminal.text)
    drawn, _, report = terminal.raw.rpartition(f"\r{ESCAPE}[K")
    assert "Restoring" in drawn
    assert "Restoring" not in report
    assert report.rstrip().endswith(
        f"{summary(service, '20 restored, 0 already restored, 0 failed, 0 unknown')}{ESCAPE}[0m"
    )


def test_bar_says_why_it_waits(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """While backups wait, the bar names the cause, the next attempt, and when it gives up."""
    pending(service, 3)
    service.inject(Fault.THROTTLED, "RestoreBackup", times=1000)
    with Terminal("restore", "--all-pending", "--yes", env=env) as terminal:
        # Until a wait is longer than the 0.2 seconds after which the bar is drawn again.
        terminal.read(until="gives up")
        service.clear_faults()
        assert terminal.end() == 0
    reason = "(?:another restore was )?throttled"
    assert re.search(rf"\d/3; {reason}, next attempt in \d+ s, gives up in [45]:\d\d", terminal.text)
    assert max(len(part) for part in re.split(r"[\r\n]", terminal.text) if "Restoring" in part) < 80


@pytest.mark.parametrize("columns", [1, 20])
def test_bar_on_a_narrow_terminal(service: LocalCloudHsm, env: dict[str, str], columns: int) -> None:
    """However narrow the terminal is, the bar stays in one line."""
    pending(service, 3)
    service.inject(Fault.THROTTLED, "RestoreBackup", times=5)
    with Terminal("restore", "--all-pending", "--yes", env=env, columns=columns) as terminal:
        assert terminal.end() == 0
    bar = terminal.raw.rpartition(f"\r{ESCAPE}[K")[0]
    assert max(map(len, re.sub(r"\x1b\[K", "", bar).split("\r"))) < max(columns, 2)


def test_line_instead_of_a_bar(service: LocalCloudHsm, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pipe, a line comes every 30 seconds while backups wait; here every 0.1 seconds."""
    assert _display._EVERY == 30
    monkeypatch.setattr(_display, "_EVERY", 0.1)
    pending(service, 2)
    service.inject(Fault.THROTTLED, "RestoreBackup", times=5)
    ran = call("restore", "--all-pending", "--yes", "--timeout", "1h")
    lines = [line for line in ran.err.splitlines() if "throttled" in line]
    assert lines
    reason = "(another restore was )?throttled"  # All restores wait if one is throttled.
    for line in lines:
        assert re.fullmatch(rf"\d/2 done; {reason}, next attempt in \d+ s, gives up in 59:\d\d", line)


def test_dumb_terminal(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """A dumb terminal gets neither a bar nor an escape sequence."""
    pending(service)
    with Terminal("restore", "--all-pending", env=env | {"TERM": "dumb"}) as terminal:
        assert terminal.end() == 0
    assert ESCAPE not in terminal.raw
    assert "Restoring" not in terminal.raw


def test_data_and_bar_on_one_terminal(service: LocalCloudHsm, env: dict[str, str], tmp_path: Path) -> None:
    """JSON Lines on a terminal are not interrupted by a bar."""
    pending(service, 10)
    service.inject(Fault.DELAY, "RestoreBackup", times=10, seconds=0.3)
    with Terminal("restore", "--all-pending", "--yes", "-o", "jsonl", env=env, columns=2000) as terminal:
        assert terminal.end() == 0
    assert len(outcomes("\n".join(line for line in terminal.text.splitlines() if line.startswith("{")))) == 10
    assert f"{ESCAPE}[K" not in terminal.raw


def test_300_pending(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """300 backups are restored with a report as short as for a single one."""
    pending(service, 300)
    ran = run("restore", "--all-pending", "--yes", "--workers", "20", "--output", "table", env=env)
    assert (ran.status, ran.out) == (0, "")
    assert len(ran.err.splitlines()) == 2
    assert states(service) == {"READY": 300}

"""Processes that end in the middle of 2,000 restores, and threads that share a client: no report is false.

    python -m tests.processes [--runs 10] [--seed 1] [--seconds 60] [--write]

SIGTERM, Ctrl-C on a terminal, and SIGKILL each end ``cloudhsm-restore restore --all-pending`` at random
moments. Then the same command runs again. ``--write`` writes the table of docs/reference/verification.md.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

from cloudhsm_restore.testing import LocalCloudHsm

from . import figures
from .soak import THREADS, soak
from .terminal import CLI, Terminal, environment

BACKUPS: Final = 2_000
COMMAND: Final = ("restore", "--all-pending", "--yes", "--output", "jsonl")
IN_FLIGHT: Final = 16
"""Two for each of the 8 workers: a result that is not printed yet, and a request."""

Interrupt = Callable[[dict[str, str], Callable[[], object]], tuple[int, list[str]]]
"""Starts the command, interrupts it after a wait, and returns its exit status and the lines it printed."""


def at_a_terminal(env: dict[str, str], wait: Callable[[], object]) -> tuple[int, list[str]]:
    """Press Ctrl-C."""
    # A dumb terminal gets no progress bar, which would fill the terminal's buffer.
    with Terminal(*COMMAND, env=env | {"TERM": "dumb"}, stdout=subprocess.PIPE) as terminal:
        assert terminal.process.stdout is not None
        lines = _lines(terminal.process.stdout, wait, lambda: terminal.press("\x03"))
        return terminal.end(), lines


def by_signal(sent: signal.Signals) -> Interrupt:
    """Return what sends a signal."""

    def interrupt(env: dict[str, str], wait: Callable[[], object]) -> tuple[int, list[str]]:
        command = subprocess.Popen(
            [*CLI, *COMMAND], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        with command as process:
            assert process.stdout is not None
            lines = _lines(process.stdout, wait, lambda: process.send_signal(sent))
        return process.returncode, lines

    return interrupt


INTERRUPTS: Final[dict[str, Interrupt]] = {
    "SIGTERM": by_signal(signal.SIGTERM),
    "Ctrl-C": at_a_terminal,
    "SIGKILL": by_signal(signal.SIGKILL),
}


def _lines(stdout: IO[Any], wait: Callable[[], object], interrupt: Callable[[], object]) -> list[str]:
    """Read all lines, and interrupt the process after the wait."""

    def interrupt_later() -> None:
        wait()
        interrupt()

    thread = threading.Thread(target=interrupt_later)
    thread.start()
    lines = [line.decode() for line in stdout]
    thread.join()
    return [line for line in lines if line.endswith("\n")]  # SIGKILL may have cut the last one.


def restores(service: LocalCloudHsm) -> int:
    """Count the RestoreBackup requests."""
    return sum(request.operation == "RestoreBackup" for request in service.requests)


def misreports(name: str, chance: random.Random, home: Path, backups: int = BACKUPS) -> Iterator[str]:
    """Interrupt one run, run the command again, and yield what was reported and is not so."""
    with LocalCloudHsm() as service:
        ids = {service.add_backup(backup_state="PENDING_DELETION").backup_id for _ in range(backups)}
        env = environment(home, **service.environ)
        number = chance.randrange(1, backups // 2)

        def wait() -> None:
            while restores(service) < number:
                time.sleep(0.005)
            time.sleep(chance.random() / 100)

        status, lines = INTERRUPTS[name](env, wait)
        first = [json.loads(line) for line in lines]
        if name == "SIGKILL":
            time.sleep(0.2)  # The service may still carry out what the process had sent.
        before = len(service.requests)
        ready = _ready(service)
        yield from _false(first, ids, ready)
        if name != "SIGKILL" and {record["backup_id"] for record in first} != ids:
            yield "a backup is not reported"
        if ready == ids or status != (-signal.SIGKILL if name == "SIGKILL" else 130):
            yield f"the run was not interrupted; its exit status is {status}"
        time.sleep(0.3)
        if len(service.requests) != before:
            yield "a request was sent after the end"

        done = subprocess.run([*CLI, *COMMAND], env=env, capture_output=True, text=True, check=False)
        second = [json.loads(line) for line in done.stdout.splitlines()]
        yield from _false(second, ids, ids)
        restored = [record["backup_id"] for record in first + second if record["outcome"] == "restored"]
        if done.returncode or _ready(service) != ids:
            yield f"the second run has not restored the rest; its exit status is {done.returncode}"
        if len(restored) != len(set(restored)):
            yield "a backup is reported as restored twice"
        if len(ids.difference(restored)) > (IN_FLIGHT if name == "SIGKILL" else 0):
            yield f"{len(ids.difference(restored))} restored backups are not reported"


def _ready(service: LocalCloudHsm) -> set[str]:
    return {backup.backup_id for backup in service.backups.values() if backup.backup_state == "READY"}


def _false(records: list[dict[str, Any]], ids: set[str], ready: set[str]) -> Iterator[str]:
    """Yield what the records of one run say that is not so."""
    named = [record["backup_id"] for record in records]
    if len(named) != len(set(named)) or not ids.issuperset(named):
        yield "a backup is reported twice, or is another one"
    for record in records:
        if record["outcome"] != "unknown" and (record["outcome"] == "restored") != (
            record["backup_id"] in ready
        ):
            yield f"{record['backup_id']} is reported as {record['outcome']}, and is not"


def main() -> None:
    """Interrupt all runs, soak, print the table, and write it."""
    # A shell ignores SIGINT for its background jobs, and the command would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="python -m tests.processes", description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="for each way to end a process")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60, help="of the threads that share a client")
    parser.add_argument("--write", action="store_true", help="write the table of the page")
    arguments = parser.parse_args()
    rows: list[str] = []
    found: list[str] = []
    for name in INTERRUPTS:
        chance, began, number = random.Random(f"{name} {arguments.seed}"), time.monotonic(), len(found)
        for run in range(arguments.runs):
            with tempfile.TemporaryDirectory() as home:
                problems = misreports(name, chance, Path(home))
                found += [f"{name}, run {run} of seed {arguments.seed}: {problem}" for problem in problems]
        rows.append(
            f"| {name} in the middle of {BACKUPS:,} restores, then the rest in a second run "
            f"| {arguments.runs} | {arguments.runs * BACKUPS:,} restores | {len(found) - number} |"
        )
        print(f"{rows[-1]} {time.monotonic() - began:.0f} s", flush=True)
    checked, mixed = soak(arguments.seconds)
    found += mixed
    rows.append(
        f"| {THREADS} threads that share one client for {arguments.seconds:g} s "
        f"| 1 | {checked:,} responses | {len(mixed)} |"
    )
    print(rows[-1], flush=True)
    if found:
        sys.exit("\n".join(found))
    if arguments.write:
        head = ["| What | Runs | Checked | Misreports |", "| --- | --- | --- | --- |"]
        figures.write("processes", [*head, *rows], f"seed {arguments.seed}")


if __name__ == "__main__":
    main()

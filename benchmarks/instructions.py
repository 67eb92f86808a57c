"""The instructions of the library and of boto3, which hardly vary on a noisy machine.

    python -m benchmarks.instructions            prints them, in a few minutes; needs valgrind
    python -m benchmarks.instructions --write    writes them into benchmarks/README.md

valgrind's callgrind (https://valgrind.org) counts them. A call is the difference of two runs, with more and with
fewer calls, so that the start of the process is not in it. A process is counted as a whole.
"""

import gc
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Final

from benchmarks.call_overhead import SUBJECTS
from benchmarks.measure import BENCH, CLEAN, fixed_service, machine, need, program
from tests import figures

FEW, MANY = 20, 60
CALLS: Final = {
    "one call": "call",
    "one call that is rejected": "error",
    "a warm Lambda invocation": "lambda",
}
PROCESSES: Final = {
    "a fresh process: import, and create a client": "client",
    "a fresh process: import, create a client, and restore": "restore",
}
"""What is counted, by the name in `SUBJECTS` or among the programs."""


def call(subject: str, times: int) -> None:
    """Call a subject this often."""
    function = SUBJECTS[subject]()
    gc.disable()
    for _ in range(times):
        function()


def _call(subject: str) -> int:
    command = [str(BENCH), "-m", "benchmarks.instructions", subject]
    few, many = (_collected([*command, str(times)], CLEAN) for times in (FEW, MANY))
    return (many - few) // (MANY - FEW)


def _collected(command: list[str], environment: Mapping[str, str]) -> int:
    # The first run compiles modules, and writes what it compiled.
    subprocess.run(command, env=dict(environment), cwd=figures.ROOT, check=True, capture_output=True)
    run = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command],
        env={**environment, "PYTHONHASHSEED": "0"},
        cwd=figures.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode or not found:
        raise SystemExit(run.stderr)
    return int(found[1])


Counts = dict[str, tuple[int, int]]
"""The instructions of the library and of boto3."""


def count() -> Counts:
    """Return the instructions of everything, one run for each core at a time."""
    whos = ("library", "boto3")
    with fixed_service() as environment, ThreadPoolExecutor(os.cpu_count()) as pool:
        calls = {what: [pool.submit(_call, f"{who} {name}") for who in whos] for what, name in CALLS.items()}
        others = {
            what: [pool.submit(_collected, program(f"{name}_{who}"), environment) for who in whos]
            for what, name in PROCESSES.items()
        }
        return {
            what: (library.result(), boto3.result()) for what, (library, boto3) in (calls | others).items()
        }


def table(counts: Counts) -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| instructions | cloudhsm-restore | boto3 | ratio |"
    yield "| --- | --- | --- | --- |"
    for what, (library, boto3) in counts.items():
        yield f"| {what} | {library:,} | {boto3:,} | {library / boto3:.3f} |"


def write(counts: Counts) -> None:
    """Write the table into its page."""
    figures.write("instructions", table(counts), f"botocore {version('botocore')}", machine())


def main() -> None:
    """Count, and print or write."""
    need("valgrind")
    counts = count()
    print(*table(counts), sep="\n")
    if "--write" in sys.argv:
        write(counts)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        call(sys.argv[1], int(sys.argv[2]))
    else:
        main()

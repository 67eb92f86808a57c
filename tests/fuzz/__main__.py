"""`make fuzz`: coverage-guided fuzzing with atheris for inputs that violate a promise.

Each target gets its share of the time, in a process of its own, and starts with ``tests/corpus/TARGET``. Its
findings are in ``.fuzz/TARGET``: ``crash-*`` is an input that violates a promise, and ``timeout-*`` one that
takes a minute. Commit it with the fix, in the corpus, under a name that describes it. With a finding the exit
status is 1. ``--write`` writes the table of docs/reference/verification.md.
"""

# pyright: basic

import argparse
import os
import random
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from .. import figures

CORPUS = Path(__file__).parent.parent / "corpus"
WORK = Path(".fuzz")
INSTRUMENTED = [
    "cloudhsm_restore", "botocore.parsers", "botocore.endpoint", "botocore.retryhandler", "botocore.httpsession",
    "botocore.awsrequest", "http", "urllib3",
]  # fmt: skip


def fuzz(name: str, options: list[str]) -> None:
    """Run one target with atheris; does not return."""
    import atheris as untyped  # type: ignore[import-untyped]

    atheris: Any = untyped

    with atheris.instrument_imports(include=INSTRUMENTED):
        from .sizes import measured
        from .targets import TARGETS

    target = TARGETS[name]
    printed = [0]

    def run(data: bytes) -> None:
        target.run(data)
        if measured[0] > printed[0]:
            printed[0] = measured[0]
            print(f"measured: {measured[0]}", flush=True)

    def mutator(data: bytes, max_size: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.2:
            return bytes(atheris.Mutate(data, max_size))
        mutated = target.mutate(
            data, chance, lambda part, size: bytes(atheris.Mutate(part, max(len(part), size)))
        )
        return bytes(mutated[:max_size])

    atheris.Setup([sys.argv[0], *options], run, custom_mutator=mutator)
    atheris.Fuzz()


class Ran(NamedTuple):
    """The result of one target."""

    executions: int
    seconds: float
    measured: int
    """Inputs whose work was compared with boto3's."""
    finding: str
    """Empty if nothing was found."""


def share(name: str, seconds: float) -> Ran:
    """Run one target for its share of the time, and print the result."""
    work = WORK / name
    (work / "inputs").mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "tests.fuzz", "--target", name, "--", f"-max_total_time={seconds:.0f}",
        f"-artifact_prefix={work}/", "-timeout=60", "-rss_limit_mb=4096", "-max_len=8192", "-print_final_stats=1",
        str(work / "inputs"), str(CORPUS / name),
    ]  # fmt: skip
    began = time.monotonic()
    with (work / "log").open("w") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)
    took = time.monotonic() - began
    log = (work / "log").read_text(errors="replace")
    executions = _last(r"^(?:#|stat::number_of_executed_units: )(\d+)", log)
    artifacts = re.findall(r"Test unit written to (\S+)", log)
    finding = "" if done.returncode == 0 else f"{' '.join(artifacts)} (see {work}/log)"
    ran = Ran(executions, took, _last(r"^measured: (\d+)", log), finding)
    reached = " ".join(re.findall(r"cov: \d+ ft: \d+", log)[-1:])
    found = f"FOUND {finding}" if finding else "nothing found"
    print(
        f"{name:10} {executions:10,} executions in {took:6.0f} s, {reached}, {ran.measured:,} large; {found}",
        flush=True,
    )
    return ran


def _last(pattern: str, log: str) -> int:
    found = re.findall(pattern, log, re.MULTILINE)
    return int(found[-1]) if found else 0


def main() -> int:
    """Run one target, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument("--jobs", type=int, default=1, help="how many targets run at a time")
    parser.add_argument("--only", metavar="TARGET", help="this target alone")
    parser.add_argument("--write", action="store_true", help="write the table of the page")
    parser.add_argument("--target", help=argparse.SUPPRESS)
    arguments, options = parser.parse_known_args()
    if arguments.target:
        fuzz(arguments.target, [option for option in options if option != "--"])
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    # Not before, because atheris instruments modules while they are imported.
    from .targets import TARGETS

    targets = {name: target for name, target in TARGETS.items() if arguments.only in {None, name}}
    per_share = arguments.seconds / sum(target.share for target in targets.values())
    with ThreadPoolExecutor(arguments.jobs) as executor:
        results = list(executor.map(lambda name: share(name, per_share * targets[name].share), targets))
    if any(ran.finding for ran in results):
        return 1
    if arguments.write:
        write([(target.title, ran) for target, ran in zip(targets.values(), results, strict=True)])
    return 0


def write(results: list[tuple[str, Ran]]) -> None:
    """Write the table, for a run that found nothing."""
    rows = [
        f"| {title} | {ran.executions:,} | {ran.measured:,} | {ran.seconds:,.0f} |" for title, ran in results
    ]
    figures.write(
        "fuzzing",
        [
            f"In {sum(ran.seconds for _, ran in results) / 60:.0f} minutes nothing was found:",
            "",
            "| Target | Executions | Of them with 64 KiB or more | Seconds |",
            "| --- | --- | --- | --- |",
            *rows,
        ],
        f"atheris {version('atheris')}",
    )


if __name__ == "__main__":
    sys.exit(main())

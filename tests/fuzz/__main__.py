"""`make fuzz`: coverage-guided fuzzing with atheris for inputs that violate a promise.

Each target gets its share of the time, in a process of its own, and starts with ``tests/corpus/TARGET``. Its
findings are in ``.fuzz/TARGET``: ``crash-*`` is an input that violates a promise. Commit it with the fix, in
the corpus, under a name that describes it.
"""

# pyright: basic

import argparse
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent.parent / "corpus"
WORK = Path(".fuzz")
SHARES = {"response": 8, "wire": 4, "request": 5, "model": 2, "arguments": 1}
INSTRUMENTED = [
    "cloudhsm_restore", "botocore.parsers", "botocore.endpoint", "botocore.retryhandler", "botocore.httpsession",
    "botocore.awsrequest", "http", "urllib3",
]  # fmt: skip


def fuzz(target: str, options: list[str]) -> None:
    """Run one target with atheris; does not return."""
    import atheris as untyped  # type: ignore[import-untyped]

    atheris: Any = untyped

    with atheris.instrument_imports(include=INSTRUMENTED):
        from . import mutation
        from .targets import TARGETS

    def mutator(data: bytes, max_size: int, seed: int) -> bytes:
        mutate = {"response": mutation.script, "wire": mutation.wire_script}.get(target) or getattr(
            mutation, target
        )
        chance = random.Random(seed)
        if chance.random() < 0.2:
            return bytes(atheris.Mutate(data, max_size))
        mutated = mutate(data, chance, lambda part, size: bytes(atheris.Mutate(part, max(len(part), size))))
        return bytes(mutated[:max_size])

    atheris.Setup([sys.argv[0], *options], TARGETS[target], custom_mutator=mutator)
    atheris.Fuzz()


def share(target: str, seconds: float) -> bool:
    """Run one target for its share of the time, print the result, and return whether nothing was found."""
    work = WORK / target
    (work / "inputs").mkdir(parents=True, exist_ok=True)
    seeds = CORPUS / target
    command = [
        sys.executable, "-m", "tests.fuzz", "--target", target, "--", f"-max_total_time={seconds:.0f}",
        f"-artifact_prefix={work}/", "-timeout=300", "-rss_limit_mb=4096", "-max_len=8192", "-print_final_stats=1",
        str(work / "inputs"), str(seeds),
    ]  # fmt: skip
    began = time.monotonic()
    with (work / "log").open("w") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)
    log = (work / "log").read_text(errors="replace")
    took = time.monotonic() - began
    runs = re.findall(r"stat::number_of_executed_units: (\d+)", log) or re.findall(
        r"^#(\d+)", log, re.MULTILINE
    )
    number = int(runs[-1]) if runs else 0
    coverage = re.findall(r"cov: (\d+) ft: (\d+)", log)
    reached = "cov {}, features {}".format(*coverage[-1]) if coverage else "no coverage"
    found = "nothing found" if done.returncode == 0 else f"FOUND a violation: {work}/log"
    print(
        f"{target:10} {number:10,} executions in {took:6.0f} s, {number / took:6.0f}/s, {reached}; {found}",
        flush=True,
    )
    return done.returncode == 0


def main() -> int:
    """Run one target, or each in turn."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument("--only", choices=SHARES, help="this target alone")
    parser.add_argument("--target", choices=SHARES, help=argparse.SUPPRESS)
    arguments, options = parser.parse_known_args()
    if arguments.target:
        fuzz(arguments.target, [option for option in options if option != "--"])
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    targets = {arguments.only: 1} if arguments.only else SHARES
    clean = [
        share(target, arguments.seconds * part / sum(targets.values())) for target, part in targets.items()
    ]
    return 0 if all(clean) else 1


if __name__ == "__main__":
    sys.exit(main())

"""`make fuzz`: atheris looks for inputs that break a promise, guided by what the code does with them.

Each target gets its share of the time, in a process of its own, and begins with ``tests/corpus/TARGET``. What
it finds lies in ``.fuzz/TARGET``: ``crash-*`` is an input that broke something, and goes to the corpus, under
a name that says what it shows, together with the fix.
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
SHARES = {"answer": 8, "wire": 4, "request": 5, "model": 2, "arguments": 1}
INSTRUMENTED = [
    "cloudhsm_restore", "botocore.parsers", "botocore.endpoint", "botocore.retryhandler", "botocore.httpsession",
    "botocore.awsrequest", "http", "urllib3",
]  # fmt: skip


def fuzz(target: str, options: list[str]) -> None:
    """Let atheris run one target; does not return."""
    import atheris as untyped  # type: ignore[import-untyped]

    atheris: Any = untyped

    with atheris.instrument_imports(include=INSTRUMENTED):
        from . import mutation
        from .targets import TARGETS

    def mutator(data: bytes, longest: int, seed: int) -> bytes:
        mutate = {"answer": mutation.script, "wire": mutation.wire_script}.get(target) or getattr(
            mutation, target
        )
        chance = random.Random(seed)
        if chance.random() < 0.2:
            return bytes(atheris.Mutate(data, longest))
        mutated = mutate(data, chance, lambda part, most: bytes(atheris.Mutate(part, max(len(part), most))))
        return bytes(mutated[:longest])

    atheris.Setup([sys.argv[0], *options], TARGETS[target], custom_mutator=mutator)
    atheris.Fuzz()


def share(target: str, seconds: float) -> bool:
    """Run one target for its share of the time and tell what came of it; whether nothing was found."""
    work = WORK / target
    (work / "inputs").mkdir(parents=True, exist_ok=True)
    seeds = CORPUS / target
    command = [
        sys.executable, "-m", "tests.fuzz", "--target", target, "--", f"-max_total_time={seconds:.0f}",
        f"-artifact_prefix={work}/", "-timeout=300", "-rss_limit_mb=4096", "-max_len=8192", "-print_final_stats=1",
        str(work / "inputs"), str(seeds),
    ]  # fmt: skip
    began = time.monotonic()
    with (work / "log").open("w") as log:
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
    said = (work / "log").read_text(errors="replace")
    took = time.monotonic() - began
    runs = re.findall(r"stat::number_of_executed_units: (\d+)", said) or re.findall(
        r"^#(\d+)", said, re.MULTILINE
    )
    number = int(runs[-1]) if runs else 0
    coverage = re.findall(r"cov: (\d+) ft: (\d+)", said)
    reached = "cov {}, features {}".format(*coverage[-1]) if coverage else "no coverage"
    found = "nothing found" if done.returncode == 0 else f"FOUND something: {work}/log"
    print(
        f"{target:10} {number:10,} executions in {took:6.0f} s, {number / took:6.0f}/s, {reached}; {found}",
        flush=True,
    )
    return done.returncode == 0


def main() -> int:
    """One target, or all of them in turn."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument("--only", choices=SHARES, help="this target alone")
    parser.add_argument("--target", choices=SHARES, help=argparse.SUPPRESS)
    arguments, options = parser.parse_known_args()
    if arguments.target:
        fuzz(arguments.target, [each for each in options if each != "--"])
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

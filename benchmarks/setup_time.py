"""The parts of ``make demo`` and ``make test`` in a fresh clone: the figures of CONTRIBUTING.md (``make setup-time``).

The clone is in an empty folder, with an empty home, so that pip downloads everything. Each part is a target of
the Makefile, so that the parts are what ``make demo`` and ``make test`` do, in their order.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final

from benchmarks.measure import machine
from tests import figures

PARTS: Final = {
    "`make demo`: create `.venv`": ".venv/bin/python",
    "`make demo`: install what the demo needs": ".venv/demo",
    "`make demo`: the demo": "demo",
    "`make test`: install what the tests need": ".venv/test",
    "`make test`: install the AWS CLI, which one test uses": ".venv-aws/done",
    "`make test`: the tests": "test",
}
UNITS: Final = {"kB": 0.001, "MB": 1.0}


def run(target: str, clone: Path, home: str) -> tuple[float, float]:
    """Make one target, and return the seconds that it took and the megabytes that pip downloaded."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))
    }
    began = perf_counter()
    done = subprocess.run(
        ["make", f"PYTHON={sys.base_exec_prefix}/bin/python3", target],
        cwd=clone,
        env={**environment, "HOME": home, "PIP_NO_CACHE_DIR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = perf_counter() - began
    if done.returncode:
        raise SystemExit(f"make {target} failed:\n{done.stdout[-3000:]}")
    sizes = re.findall(r"Downloading \S+ \((\d+(?:\.\d+)?) (kB|MB)\)", done.stdout)
    return seconds, sum(float(size) * UNITS[unit] for size, unit in sizes)


def main() -> None:
    """Measure, and write the table."""
    lines = ["| part | time | download |", "| --- | --- | --- |"]
    total = downloaded = 0.0
    with TemporaryDirectory() as folder, TemporaryDirectory() as home:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", figures.ROOT, clone], check=True)
        for part, target in PARTS.items():
            seconds, megabytes = run(target, clone, home)
            total, downloaded = total + seconds, downloaded + megabytes
            lines.append(f"| {part} | {seconds:.0f} s | {f'{megabytes:.0f} MB' if megabytes else ''} |")
            print(lines[-1], flush=True)
    lines.append(f"| together | {total:.0f} s | {downloaded:.0f} MB |")
    print(lines[-1])
    if "--print" not in sys.argv:
        figures.write("setup", lines, machine())


if __name__ == "__main__":
    main()

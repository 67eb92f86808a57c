"""`make versions`: the whole suite with the oldest supported versions, the newest, and some between.

Each combination gets an environment of its own in ``.venv-versions``. A Python that this machine does not
have is left out.
"""

import re
import subprocess
import sys
from pathlib import Path
from shutil import which

from . import figures

ROOT = Path(__file__).parent.parent
FIGURES = "tests/test_figures.py::test_figures_are_of_this_code"
NEWEST = ""
COMBINATIONS = (
    {"boto3": "1.35.16", "botocore": "1.35.16", "pydantic": "2.7.0"},
    {"boto3": "1.35.16", "botocore": "1.35.16", "urllib3": "1.26.20", "pydantic": NEWEST},
    {"boto3": NEWEST, "urllib3": "1.26.20", "pydantic": "2.7.0"},
    *(
        {"python": version, "boto3": NEWEST, "pydantic": NEWEST}
        for version in ("3.11", "3.12", "3.13", "3.14")
    ),
)
SHOWN = ("boto3", "botocore", "urllib3", "pydantic")


def row(number: int, interpreter: str, wanted: dict[str, str]) -> str:
    """Run the suite with one combination, and return its row of the table."""
    folder = ROOT / f".venv-versions/{number}"
    subprocess.run([interpreter, "-m", "venv", "--clear", folder], check=True)
    python = str(folder / "bin/python")
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--editable", ".[test]",
         *(f"{name}=={version}" for name, version in wanted.items() if version)],
        check=True, cwd=ROOT,
    )  # fmt: skip
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"], check=True, capture_output=True, text=True
    ).stdout
    version = subprocess.run([python, "-V"], check=True, capture_output=True, text=True).stdout.split()[1]
    installed = dict(re.findall(r"^([\w-]+)==(\S+)$", listed, re.MULTILINE))
    run = subprocess.run(
        # The figures of the pages are being measured meanwhile.
        [python, "-m", "pytest", "-q", "-n", "2", "--deselect", FIGURES],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    last = run.stdout.strip().splitlines()[-1]
    counts = ", ".join(re.findall(r"\d+ (?:passed|failed|errors?)", last)) or "no tests"
    if run.returncode:
        print(run.stdout[-3000:])
    verdict = "pass" if run.returncode == 0 else f"**fail**: {counts}"
    return " | ".join([version, *(installed.get(name, "-") for name in SHOWN), verdict])


def main() -> int:
    """Run the suite with each combination; return 1 if it fails. ``--write``: also write the table."""
    rows = [f"| Python | {' | '.join(SHOWN)} | the suite |", f"|{' --- |' * (len(SHOWN) + 2)}"]
    for number, combination in enumerate(COMBINATIONS):
        wanted = dict(combination)
        interpreter = which(f"python{wanted.pop('python')}") if "python" in wanted else sys.executable
        if (
            interpreter
            and not subprocess.run([interpreter, "-V"], capture_output=True, check=False).returncode
        ):
            rows.append(f"| {row(number, interpreter, wanted)} |")
            print(rows[-1], flush=True)
    if "--write" in sys.argv:
        figures.write("versions", rows)
    return any("fail" in row for row in rows)


if __name__ == "__main__":
    sys.exit(main())

"""Measures processes with hyperfine, and programs that measure themselves, in turns."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Final

ROOT: Final = Path(__file__).parent.parent
PROGRAMS: Final = ROOT / "benchmarks/programs"
BENCH: Final = ROOT / ".venv-bench/bin/python"
CLI: Final = ROOT / ".venv-bench/bin/cloudhsm-restore"
AWS: Final = ROOT / ".venv-aws/bin/aws"
TOOLS: Final = {
    "hyperfine": "https://github.com/sharkdp/hyperfine",
    "valgrind": "https://valgrind.org",
}

Times = dict[str, list[float]]
"""The seconds of each subject, one for each round."""

CLEAN: Final = {
    name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))
} | {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",  # capo-cloudhsm-v2 reads this one.
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""The environment of every measured process."""


def need(*tools: str) -> None:
    """End the program if a tool is missing, before anything is measured."""
    missing = [f"{tool} ({TOOLS[tool]})" for tool in tools if not shutil.which(tool)]
    if missing:
        raise SystemExit(
            f"This needs {' and '.join(missing)}. On Debian and Ubuntu: apt install {' '.join(tools)}"
        )


@contextmanager
def serving(command: list[str]) -> Iterator[str]:
    """Run a server, and yield the first line that it prints."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@contextmanager
def fixed_service(milliseconds: int = 0) -> Iterator[dict[str, str]]:
    """Start ``benchmarks.server``, and yield the environment for its clients."""
    with serving([sys.executable, "-m", "benchmarks.server", str(milliseconds)]) as port:
        url = f"http://127.0.0.1:{port}"
        # capo-cloudhsm-v2 reads the second one.
        yield CLEAN | {"AWS_ENDPOINT_URL_CLOUDHSM_V2": url, "AWS_ENDPOINT_URL": url}


@contextmanager
def local_service(pending: int) -> Iterator[dict[str, str]]:
    """Start ``cloudhsm-restore serve`` with pending backups, and yield the environment for its clients."""
    command = [sys.executable, "-m", "cloudhsm_restore", "serve", "--pending", str(pending)]
    with serving(command) as line:
        yield CLEAN | dict(word.split("=", 1) for word in shlex.split(line) if "=" in word)


def program(name: str, *arguments: object) -> list[str]:
    """Return the command that runs one of the programs."""
    return [str(BENCH), str(PROGRAMS / f"{name}.py"), *map(str, arguments)]


def processes(
    commands: Mapping[str, list[str]],
    environment: Mapping[str, str],
    *options: str,
    rounds: int,
    warm: bool = False,
) -> Times:
    """Run each command once in each round, and return the seconds of each."""
    times: Times = {name: [] for name in commands}
    with TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        for number in range(rounds + warm):
            subprocess.run(
                ["hyperfine", "-N", "--style", "none", "--runs", "1", "--export-json", str(result), *options,
                 *map(shlex.join, commands.values())],
                env=dict(environment), check=True, capture_output=True, cwd=folder,
            )  # fmt: skip
            for name, run in zip(commands, json.loads(result.read_text())["results"], strict=True):
                if number >= warm:  # The first round may read the files of the programs from the disk.
                    times[name].append(run["times"][0])
    return times


def in_process(python: Path, script: str, environment: Mapping[str, str], *, rounds: int) -> Times:
    """Run a script that measures itself, and return the seconds that it prints as JSON, of each round."""
    times: Times = {}
    for _ in range(rounds):
        for name, seconds in json.loads(_output([str(python), "-m", script], environment)).items():
            times.setdefault(name, []).append(seconds)
    return times


def _output(command: list[str], environment: Mapping[str, str]) -> str:
    run = subprocess.run(
        command, env=dict(environment), check=False, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    if run.returncode:
        raise SystemExit(f"{shlex.join(command)} failed")
    return run.stdout


def peak(command: list[str], environment: Mapping[str, str], *, rounds: int) -> float:
    """Return the peak memory of a command in MiB, the median of the rounds."""
    return median(_peak(command, environment) for _ in range(rounds))


def _peak(command: list[str], environment: Mapping[str, str]) -> float:
    process = subprocess.Popen(command, env=dict(environment), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if status:
        raise SystemExit(f"{shlex.join(command)} failed")
    return usage.ru_maxrss / 1024


def ratios(times: Times, subject: str, baseline: str) -> list[float]:
    """Return the ratio of two subjects in each round."""
    return [a / b for a, b in zip(times[subject], times[baseline], strict=True)]


def summary(values: list[float]) -> str:
    """Return the median of ratios and, with more than two, the middle half of them."""
    lower, middle, upper = quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return f"{middle:.3f} ({lower:.3f}–{upper:.3f})"


def machine() -> str:
    """Return the processor and the number of cores of this machine."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text("utf-8").splitlines() if information.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else 'an unnamed processor'}, {os.cpu_count()} cores"

"""The command line and the AWS CLI on the same local service: ``make benchmark-cli``.

hyperfine (https://github.com/sharkdp/hyperfine) measures the times. Only the ratios within one run matter.

1,000 backups one by one through the AWS CLI take many minutes. So a sample is measured, and its time is
extrapolated to 1,000, which ignores that the pipeline has one `describe-backups`.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

_ROOT = Path(__file__).parent.parent
_CLI = shlex.quote(str(Path(sys.executable).parent / "cloudhsm-restore"))
_AWS = shlex.quote(os.environ.get("AWS_CLI", str(_ROOT / ".venv-aws/bin/aws")))
_MANY, _SAMPLE = 1000, 20

_DESCRIBE = f"{_AWS} cloudhsmv2 describe-backups --filters states=PENDING_DELETION"
_ONE_BY_ONE = (
    f"{_DESCRIBE} --query 'Backups[].BackupId' --output text | xargs -n1 "
    f"{_AWS} cloudhsmv2 restore-backup --backup-id"
)
_DELETE_ALL = """
import boto3
client = boto3.client("cloudhsmv2")
pages = client.get_paginator("describe_backups").paginate(Filters={"states": ["READY"]})
for backup in [backup for page in pages for backup in page["Backups"]]:
    client.delete_backup(BackupId=backup["BackupId"])
"""
_PREPARE = shlex.join([sys.executable, "-c", _DELETE_ALL])


@contextmanager
def _served(pending: int) -> Iterator[dict[str, str]]:
    """Start a local service with pending backups in a process, and yield the environment for its clients."""
    command = [sys.executable, "-m", "cloudhsm_restore", "serve", "--pending", str(pending)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            words = shlex.split(process.stdout.readline())
            yield dict(word.split("=", 1) for word in words if "=" in word)
        finally:
            process.terminate()


def _seconds(command: str, environment: dict[str, str], *options: str) -> float:
    """Return the median time of the command."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        subprocess.run(
            ["hyperfine", "--style", "none", "--export-json", str(result), *options, command],
            env=clean | environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        times: list[float] = json.loads(result.read_text())["results"][0]["times"]
        return median(times)


def _one_by_one(environment: dict[str, str]) -> float:
    """Return the seconds for all backups through the AWS CLI, extrapolated from the sample."""
    return _seconds(_ONE_BY_ONE, environment, "--runs", "3", "--prepare", _PREPARE) / _SAMPLE * _MANY


def _compare(label: str, seconds: float, aws_seconds: float) -> None:
    ratio = seconds / aws_seconds
    sys.stdout.write(f"{label:<64} {seconds:8.3f} s {aws_seconds:9.3f} s   {ratio:6.3f}\n")
    sys.stdout.flush()


def main() -> None:
    """Measure, and print one line for each comparison."""
    start_up = ("--warmup", "2", "--runs", "15", "--shell", "none")
    sys.stdout.write(f"{'':<64} {'library':>10} {'AWS CLI':>11}    ratio\n")
    with _served(3) as few:
        help_, list_ = (_seconds(f"{_CLI} {word}", few, *start_up) for word in ("--help", "list"))
        table = _seconds(f"{_CLI} list --output table", few, *start_up)
        _compare("--help : aws --version", help_, _seconds(f"{_AWS} --version", few, *start_up))
        describe = _seconds(_DESCRIBE, few, *start_up)
        _compare("list : aws cloudhsmv2 describe-backups", list_, describe)
        _compare("list --output table : aws cloudhsmv2 describe-backups", table, describe)
    with _served(_SAMPLE) as some:
        one_by_one = _one_by_one(some)
    with _served(_MANY) as many:
        command = f"{_CLI} restore --all-pending --yes"
        all_at_once = _seconds(command, many, "--runs", "3", "--prepare", _PREPARE)
    label = f"{_MANY} restored : describe-backups | xargs -n1 restore-backup*"
    _compare(label, all_at_once, one_by_one)
    sys.stdout.write(f"* from a sample of {_SAMPLE}\n")


if __name__ == "__main__":
    main()

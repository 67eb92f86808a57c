"""The command line and the AWS CLI on the same local service (``make bench``).

1,000 backups one by one through the AWS CLI take many minutes. So a sample is measured, and its time is
extrapolated to 1,000, which ignores that the pipeline has one `describe-backups`.
"""

import shlex
from statistics import median
from typing import Final

from benchmarks.measure import AWS, BENCH, CLI, Times, local_service, processes

MANY, SAMPLE = 1_000, 20

_DELETE_ALL: Final = """
import boto3
client = boto3.client("cloudhsmv2")
pages = client.get_paginator("describe_backups").paginate(Filters={"states": ["READY"]})
for backup in [backup for page in pages for backup in page["Backups"]]:
    client.delete_backup(BackupId=backup["BackupId"])
"""
PREPARE: Final = ("--prepare", shlex.join([str(BENCH), "-c", _DELETE_ALL]))
"""Options of hyperfine that delete all backups before each run."""

_AWS: Final = shlex.quote(str(AWS))
_DESCRIBE: Final = f"{_AWS} cloudhsmv2 describe-backups --filters states=PENDING_DELETION"
_ONE_BY_ONE: Final = (
    f"{_DESCRIBE} --query 'Backups[].BackupId' --output text | xargs -n1 "
    f"{_AWS} cloudhsmv2 restore-backup --backup-id"
)
STARTS: Final = {
    "--help": [str(CLI), "--help"],
    "aws --version": [str(AWS), "--version"],
    "list": [str(CLI), "list"],
    "list --output table": [str(CLI), "list", "--output", "table"],
    "aws describe-backups": shlex.split(_DESCRIBE),
}
"""The commands whose start is measured."""


def starts(rounds: int) -> Times:
    """Return the seconds of each of `STARTS`."""
    with local_service(3) as few:
        return processes(STARTS, few, rounds=rounds, warm=True)


def one_by_one(rounds: int) -> float:
    """Return the seconds for `MANY` restores through the AWS CLI, extrapolated from the sample."""
    command = {"": ["bash", "-c", _ONE_BY_ONE]}
    with local_service(SAMPLE) as some:
        return median(processes(command, some, *PREPARE, rounds=rounds)[""]) / SAMPLE * MANY

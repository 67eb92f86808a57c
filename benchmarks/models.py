"""100,000 backups from boto3's dicts, with the library that this environment has (``make bench``).

python benchmarks/models.py   prints the seconds as JSON
"""

import json
import sys
from datetime import UTC, datetime
from time import perf_counter

RAW = {
    "BackupId": "backup-a2b3c4d5e6f",
    "BackupArn": "arn:aws:cloudhsm:us-east-1:111122223333:backup/backup-a2b3c4d5e6f",
    "BackupState": "READY",
    "ClusterId": "cluster-a2b3c4d5e6f",
    "CreateTimestamp": datetime(2018, 8, 16, 23, 24, 14, 640000, UTC),
    "NeverExpires": False,
    "TagList": [{"Key": "environment", "Value": "production"}],
    "HsmType": "hsm1.medium",
    "Mode": "FIPS",
}
RAW_BACKUPS = [dict(RAW) for _ in range(100_000)]

try:
    from cloudhsm_restore import Backup

    NAME, make = "library", Backup.model_validate
except ImportError:
    try:
        from boto3_dataclass_cloudhsmv2.type_defs import Backup

        NAME, make = "boto3-dataclass-cloudhsmv2", Backup.make_one
    except ImportError:
        from aws_resource_validator.pydantic_models.cloudhsmv2.cloudhsmv2_classes import Backup

        NAME, make = "aws-resource-validator-cloudhsmv2", Backup.model_validate


def build() -> None:
    for raw in RAW_BACKUPS:
        make(raw)


def build_and_read() -> None:
    for raw in RAW_BACKUPS:
        backup = make(raw)
        if NAME == "library":
            _ = backup.backup_id, backup.backup_state, backup.create_timestamp, backup.tag_list
        else:
            _ = backup.BackupId, backup.BackupState, backup.CreateTimestamp, backup.TagList


if __name__ == "__main__":
    began = perf_counter()
    build()
    between = perf_counter()
    build_and_read()
    seconds = {"build": between - began, "build and read four fields": perf_counter() - between}
    json.dump(seconds, sys.stdout)

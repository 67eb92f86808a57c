"""The cost of a restore in calls and imports, which do not vary: a guard for the times of `make bench`."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from cloudhsm_restore import InvalidRequestError
from cloudhsm_restore.testing import RestoreStubber, backup_response

from .counting import calls

ROOT = Path(__file__).parent.parent
BACKUP_ID = "backup-a2b3c4d5e6f"

BOTO3 = (
    "import boto3, pydantic\nclass Empty(pydantic.BaseModel): pass\n"
    "boto3.client('cloudhsmv2', region_name='us-east-1')"
)
LIBRARY = "from cloudhsm_restore import RestoreClient\nRestoreClient(region_name='us-east-1')"


def modules(program: str) -> set[str]:
    """Return the modules that a fresh interpreter has imported after a program."""
    program += "\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(json.loads(run.stdout))


def library_calls(counted: Counter[str]) -> int:
    """Return the number of calls of this library's functions, without the stubber's."""
    names = [name for name in counted if re.match(r"cloudhsm_restore\.(?!testing)", name)]
    return sum(counted[name] for name in names)


@pytest.mark.usefixtures("credentials")
def test_a_client_imports_little_beside_boto3_and_pydantic() -> None:
    """Beyond boto3 and one pydantic model, a client imports this package and one small module."""
    extra = {name for name in modules(LIBRARY) - modules(BOTO3) if not name.startswith("cloudhsm_restore")}
    with_old_versions = {
        "concurrent", "concurrent.futures", "concurrent.futures._base", "concurrent.futures.thread",
        "pydantic.functional_validators", "pydantic._internal._serializers",
        "pydantic._internal._std_types_schema",
    }  # fmt: skip
    assert extra - with_old_versions <= {"pydantic.alias_generators"}


def test_a_restore_validates_once_and_makes_few_calls() -> None:
    """A restore validates one model once, and makes at most 20 calls of this library's functions."""
    with RestoreStubber() as stub:
        for _ in range(2):
            stub.add_response(backup_response(backup_id=BACKUP_ID))
        stub.client.restore_backup(BACKUP_ID)
        counted = calls(lambda: stub.client.restore_backup(BACKUP_ID))
    assert counted["SchemaValidator.validate_python"] == 1
    assert 0 < library_calls(counted) <= 20


def test_a_rejected_restore_makes_few_calls() -> None:
    """A rejected restore makes at most 90 calls of this library's functions, although it masks secrets."""
    with RestoreStubber() as stub:
        for _ in range(2):
            stub.add_error(InvalidRequestError)

        def rejected() -> None:
            with pytest.raises(InvalidRequestError):
                stub.client.restore_backup(BACKUP_ID)

        rejected()
        counted = calls(rejected)
    assert 0 < library_calls(counted) <= 90

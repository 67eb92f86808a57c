"""What a restore costs, counted and not timed: a guard for what `make bench` measures."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from cloudhsm_restore import InvalidRequestError
from cloudhsm_restore.testing import RestoreStubber, backup_response

ROOT = Path(__file__).parent.parent
BACKUP_ID = "backup-a2b3c4d5e6f"

RAW = (
    "import boto3, pydantic\nclass Empty(pydantic.BaseModel): pass\n"
    "boto3.client('cloudhsmv2', region_name='us-east-1')"
)
OURS = "from cloudhsm_restore import RestoreClient\nRestoreClient(region_name='us-east-1')"


def modules(program: str) -> set[str]:
    """What a fresh interpreter has imported after a program."""
    program += "\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(json.loads(run.stdout))


def calls(function: Callable[[], object]) -> Counter[str]:
    """How often what is called: Python functions by their module, built-in ones by their name."""
    counted: Counter[str] = Counter()

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            counted[str(frame.f_globals.get("__name__"))] += 1
        elif event == "c_call":
            counted[getattr(argument, "__qualname__", "?")] += 1

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return counted


def ours(counted: Counter[str]) -> int:
    """How many of the calls are of this library's functions."""
    return sum(number for name, number in counted.items() if name.startswith("cloudhsm_restore."))


@pytest.mark.usefixtures("credentials")
def test_a_client_imports_little_beside_boto3_and_pydantic() -> None:
    """What our client imports beyond boto3 and one pydantic model is this package and one small module."""
    extra = {name for name in modules(OURS) - modules(RAW) if not name.startswith("cloudhsm_restore")}
    with_old_versions = {
        "concurrent", "concurrent.futures", "concurrent.futures._base", "concurrent.futures.thread",
        "pydantic.functional_validators", "pydantic._internal._serializers",
        "pydantic._internal._std_types_schema",
    }  # fmt: skip
    assert extra - with_old_versions <= {"pydantic.alias_generators"}


def test_a_restore_validates_once_and_calls_little() -> None:
    """One restore validates one model once, and enters few functions of this library."""
    with RestoreStubber() as stub:
        for _ in range(2):
            stub.add_response(backup_response(backup_id=BACKUP_ID))
        stub.client.restore_backup(BACKUP_ID)
        counted = calls(lambda: stub.client.restore_backup(BACKUP_ID))
    assert counted["SchemaValidator.validate_python"] == 1
    assert 0 < ours(counted) <= 20


def test_a_refusal_calls_little() -> None:
    """A rejected restore enters few functions of this library, even though it searches for secrets."""
    with RestoreStubber() as stub:
        for _ in range(2):
            stub.add_error(InvalidRequestError)

        def refused() -> None:
            with pytest.raises(InvalidRequestError):
                stub.client.restore_backup(BACKUP_ID)

        refused()
        counted = calls(refused)
    assert 0 < ours(counted) <= 90

"""Randomized fault injection in every test run: see ``tests/fault_injection.py``."""

import os

import pytest

from cloudhsm_restore import BackupState
from cloudhsm_restore.testing import Fault, LocalCloudHsm

from .fault_injection import AsyncClients, Clients, FaultSequence, boto3_misreport, run_many


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_clients_do_not_misreport(kind: str) -> None:
    """No random sequence of faults violates a claim, and nothing is left open."""
    start = int(os.environ.get("FAULT_INJECTION_SEED") or int.from_bytes(os.urandom(4)))
    print(f"FAULT_INJECTION_SEED={start}")
    tally = run_many(300, start, AsyncClients if kind == "async" else Clients)
    assert tally.sequences >= 300
    assert {"restored", "failed", "unknown"} <= set(tally.outcomes)
    assert len(tally.faults) > 10


def test_boto3_misreport(service: LocalCloudHsm) -> None:
    """boto3 reports a failure for a restore that succeeded, and a success for one that did not."""
    clients = Clients(service)
    lost = FaultSequence(
        "restore_backup", (BackupState.PENDING_DELETION,), 2, (Fault.DROP_AFTER_WORK,), None, False
    )
    portal = FaultSequence(
        "restore_backup", (BackupState.PENDING_DELETION,), 2, (Fault.CAPTIVE_PORTAL,), None, False
    )
    fine = FaultSequence("restore_backup", (BackupState.PENDING_DELETION,), 2, (), None, False)
    assert boto3_misreport(lost, clients) == "reports failure, restored"
    assert boto3_misreport(portal, clients) == "reports success, not restored"
    assert boto3_misreport(fine, clients) is None
    clients.close()

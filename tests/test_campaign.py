"""A part of the campaign in every test run: see ``tests/campaign.py``."""

import os

import pytest

from cloudhsm_restore import BackupState
from cloudhsm_restore.testing import Fault, LocalCloudHsm

from .campaign import AsyncClients, Clients, Schedule, boto3_misreports, campaign


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_answer_is_true(kind: str) -> None:
    """Under random schedules of faults no claim breaks, and nothing is left open."""
    start = int(os.environ.get("CAMPAIGN_SEED") or int.from_bytes(os.urandom(4)))
    print(f"CAMPAIGN_SEED={start}")
    tally = campaign(300, start, AsyncClients if kind == "async" else Clients)
    assert tally.schedules >= 300
    assert {"restored", "failed", "unknown"} <= set(tally.outcomes)
    assert len(tally.faults) > 10


def test_plain_boto3_is_not_true(service: LocalCloudHsm) -> None:
    """The counter-example: boto3 says failed for a restore that worked, and restored for one that did not."""
    clients = Clients(service)
    lost = Schedule(
        "restore_backup", (BackupState.PENDING_DELETION,), 2, (Fault.DROP_AFTER_WORK,), None, False
    )
    portal = Schedule(
        "restore_backup", (BackupState.PENDING_DELETION,), 2, (Fault.CAPTIVE_PORTAL,), None, False
    )
    fine = Schedule("restore_backup", (BackupState.PENDING_DELETION,), 2, (), None, False)
    assert boto3_misreports(lost, clients) == "says failed, and it was restored"
    assert boto3_misreports(portal, clients) == "says restored, and it was not"
    assert boto3_misreports(fine, clients) is None
    clients.close()

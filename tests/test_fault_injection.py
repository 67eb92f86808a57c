"""Randomized fault injection in every test run: see ``tests/fault_injection.py``."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from cloudhsm_restore import BackupState, _call, _classify
from cloudhsm_restore._classify import NOT_SENT, ErrorFacts
from cloudhsm_restore.exceptions import ConnectionLostError
from cloudhsm_restore.testing import Fault, LocalCloudHsm

from .fault_injection import AsyncClients, Clients, FaultSequence, boto3_report, run_many


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_clients_do_not_misreport(kind: str) -> None:
    """No random sequence of faults violates a claim, and nothing is left open."""
    start = int(os.environ.get("FAULT_INJECTION_SEED") or int.from_bytes(os.urandom(4)))
    print(f"FAULT_INJECTION_SEED={start}")
    tally = run_many(300, start, AsyncClients if kind == "async" else Clients)
    assert tally.sequences >= 300
    assert {"restored", "failed", "unknown"} <= set(tally.outcomes)
    assert len(tally.faults) > 20
    assert tally.connections < tally.requests / 2  # Most requests reuse a connection.


def without_closing(patch: pytest.MonkeyPatch) -> None:
    """Leave the connection open after an interim response."""

    def on_raw_response(self: _call.Call, response: Mapping[str, Any]) -> None:
        self.raw_response = dict(response)

    patch.setattr(_call.Call, "on_raw_response", on_raw_response)


def rejecting(hundreds: int) -> Callable[[pytest.MonkeyPatch], None]:
    """Return a patch that takes each status of this hundred for a rejection, whatever its error code."""
    read_error = _classify.read_error

    def read(response: Any) -> ErrorFacts:
        facts = read_error(response)
        is_of_hundred = response["ResponseMetadata"]["HTTPStatusCode"] // 100 == hundreds
        return facts._replace(is_rejection=facts.is_rejection or is_of_hundred)

    def reject(patch: pytest.MonkeyPatch) -> None:
        for module in (_call, _classify):
            patch.setattr(module, "read_error", read)

    return reject


def taking_lost_for_unsent(patch: pytest.MonkeyPatch) -> None:
    """Count a request on a connection that closed as not sent."""
    patch.setattr(_classify, "NOT_SENT", (*NOT_SENT, ConnectionLostError))


def reading_the_last_attempt(patch: pytest.MonkeyPatch) -> None:
    """Forget the attempts before the last one, as botocore does."""
    observed = _call.Call.on_attempt

    def on_attempt(self: _call.Call, parsed: object, exception: Exception | None) -> None:
        self._ambiguous = False
        observed(self, parsed, exception)

    patch.setattr(_call.Call, "on_attempt", on_attempt)


@pytest.mark.parametrize(
    "take_out_fix",
    [
        pytest.param(without_closing, id="interim response"),
        pytest.param(rejecting(3), id="redirect"),
        pytest.param(rejecting(4), id="4xx without an AWS error code"),
        pytest.param(taking_lost_for_unsent, id="lost connection"),
        pytest.param(reading_the_last_attempt, id="earlier attempts"),
    ],
)
def test_a_missing_fix_is_found(
    take_out_fix: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within 200 sequences, fault injection finds the misreport that each of these fixes prevents."""
    take_out_fix(monkeypatch)
    with pytest.raises(AssertionError, match="hides that it was restored"):
        run_many(200, 7)


def test_boto3_misreport(service: LocalCloudHsm) -> None:
    """boto3 reports a failure for a restore that succeeded, and a success for one that did not."""
    clients = Clients(service)
    pending = (BackupState.PENDING_DELETION,)
    lost = FaultSequence("restore_backup", pending, 2, (Fault.DROP_AFTER_WORK,))
    portal = FaultSequence("restore_backup", pending, 2, (Fault.CAPTIVE_PORTAL,))
    fine = FaultSequence("restore_backup", pending, 2, ())
    assert boto3_report(lost, clients)[1] == "report failure after a restore"
    assert boto3_report(portal, clients)[1] == "report success without a restore"
    assert boto3_report(fine, clients) == ("returns the backup", None)
    clients.close()

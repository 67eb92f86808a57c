"""All short schedules keep the claims, and a rule that is broken on purpose breaks one. See `state_space`."""

import logging
from dataclasses import replace

import pytest

from cloudhsm_restore import RestoreError, RestoreResult
from cloudhsm_restore._call import Response
from cloudhsm_restore._state_machine import Action, RestoreStateMachine, Step

from .state_space import AFTER_THE_DEADLINE, CLAIMS, WITHOUT_A_WAIT, Exploration


@pytest.fixture(autouse=True)
def _no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "cloudhsm_restore")


# ``make state-space`` explores schedules of every length, in a few minutes. None is explored completely here,
# too, and False is the mirror image of True.
@pytest.mark.parametrize(("wanted", "length"), [(None, None), (True, 6), (False, 5)])
def test_no_schedule_breaks_a_claim(wanted: bool | None, length: int | None) -> None:
    """Whatever the service, the network, other users, and the clock do, each report is true."""
    found = Exploration(wanted).run(length)
    assert not found.broken
    assert found.states > 2_000
    assert set(found.ends) == {
        "result", "AccessDeniedError", "ConnectError", "InvalidRequestError", "NotRestorableError",
        "ResourceNotFoundError", "WaitTimeoutError",
    }  # fmt: skip


class AlwaysKnown(RestoreStateMachine):
    """Reports each outcome as known."""

    def _finalize(self, error: RestoreError) -> RestoreError:
        error = super()._finalize(error)
        error.outcome_unknown = False
        return error


class AlwaysUnknown(RestoreStateMachine):
    """Reports each outcome as unknown."""

    def _finalize(self, error: RestoreError) -> RestoreError:
        error = super()._finalize(error)
        error.outcome_unknown = True
        return error


class AlwaysChanged(RestoreStateMachine):
    """Reports that each result is its own work."""

    def advance(self, step: Step, outcome: Response | RestoreError, now: float) -> Step | RestoreResult:
        following = super().advance(step, outcome, now)
        return replace(following, changed=True) if isinstance(following, RestoreResult) else following


class AnyResponse(RestoreStateMachine):
    """Returns the backup of each response."""

    def _after_response(self, action: Action, response: Response, now: float) -> Step | RestoreResult:
        super()._after_response(action, response, now)
        return RestoreResult(self._backup_id, response.backup, changed=self._changed)


class NoPolling(RestoreStateMachine):
    """Raises each error of DescribeBackups."""

    def _after_describe_error(self, error: RestoreError, now: float) -> Step:
        raise self._finalize(error)


class NoDeadline(RestoreStateMachine):
    """Sends more requests after the deadline."""

    def _wait(self, action: Action, now: float, cause: RestoreError | str) -> Step:
        return super()._wait(action, 0.0, cause)


class NoWait(RestoreStateMachine):
    """Sends the next request without a wait."""

    def _wait(self, action: Action, now: float, cause: RestoreError | str) -> Step:
        return super()._wait(action, now, cause)._replace(wait=0.0)


class EarlyTimeout(RestoreStateMachine):
    """Raises WaitTimeoutError instead of waiting."""

    def _wait(self, action: Action, now: float, cause: RestoreError | str) -> Step:
        raise self.timed_out()


@pytest.mark.parametrize(
    ("machine", "claim"),
    [
        (AlwaysKnown, "known outcome, not READY: this call has not restored the backup, and will not"),
        (AlwaysUnknown, "unknown outcome: there is a reason"),
        (AlwaysChanged, "changed True: this call has restored the backup"),
        (AnyResponse, "a result is READY"),
        (NoPolling, "any other error: something final has happened"),
        (NoDeadline, AFTER_THE_DEADLINE),
        (NoWait, WITHOUT_A_WAIT),
        (EarlyTimeout, "WaitTimeoutError: the deadline has passed, or the call was cancelled"),
    ],
)
def test_a_machine_that_lacks_a_rule_breaks_a_claim(machine: type[RestoreStateMachine], claim: str) -> None:
    """The exploration finds it with short schedules."""
    assert claim in {*CLAIMS, AFTER_THE_DEADLINE, WITHOUT_A_WAIT}
    assert claim in Exploration(None, machine).run(3).broken

"""The state machine behind ensure_restored: which call follows which outcome, and what is reported."""

from typing import Any

import pytest

from cloudhsm_restore import (
    AccessDeniedError,
    ApiError,
    AuthenticationError,
    Backup,
    BackupState,
    ConfigurationError,
    ConnectError,
    ConnectionLostError,
    InternalFailureError,
    InvalidRequestError,
    NotRestorableError,
    ParameterError,
    ResourceNotFoundError,
    ResponseTimeoutError,
    RestoreError,
    RestoreResult,
    ServiceError,
    TagError,
    ThrottlingError,
    TransportError,
    UnexpectedResponseError,
    WaitTimeoutError,
)
from cloudhsm_restore._call import Response
from cloudhsm_restore._state_machine import Action, RestoreStateMachine, Step

READY = Backup(backup_id="backup-1", backup_state=BackupState.READY, never_expires=False)
PENDING = Backup(backup_id="backup-1", backup_state=BackupState.PENDING_DELETION)
CREATING = Backup(backup_id="backup-1", backup_state=BackupState.CREATE_IN_PROGRESS)
DELETED = Backup(backup_id="backup-1", backup_state=BackupState.DELETED)
ARCHIVED = Backup(backup_id="backup-1", backup_state=BackupState("ARCHIVED"))
STATELESS = Backup(backup_id="backup-1")

Outcome = Backup | RestoreError


EXEMPT = READY.model_copy(update={"never_expires": True})
RESTORE, DESCRIBE, MODIFY = (action.value for action in Action)


def error(cls: type[RestoreError], *, unknown: bool = False) -> RestoreError:
    """Return an error of a class, with or without an unknown outcome."""
    if issubclass(cls, ApiError):
        return cls({}, "RestoreBackup", outcome_unknown=unknown)
    return cls("x", operation="RestoreBackup", outcome_unknown=unknown)


class Run:
    """Plays a restore with given outcomes, on a clock that only waits move."""

    def __init__(self, *outcomes: Outcome, never_expires: bool | None = None, timeout: float = 1e9) -> None:
        self.calls: list[str] = []
        self.waits: list[Step] = []
        self.final: RestoreResult | None = None
        self._error: RestoreError | None = None
        self.time = 0.0
        machine = RestoreStateMachine(
            "backup-1", never_expires=never_expires, timeout=timeout, now=0.0, random=lambda: 0.5
        )
        step: Step | RestoreResult = machine.first
        left = list(outcomes)
        try:
            while not isinstance(step, RestoreResult):
                if step.wait:
                    self.waits.append(step)
                    self.time += step.wait
                    if self.time >= machine.deadline:
                        raise machine.timed_out()
                assert self.time < machine.deadline or step.resolves or not self.calls
                self.calls.append(step.action.value)
                if not left:
                    return
                outcome = left.pop(0)
                if isinstance(outcome, Backup):
                    step = machine.advance(step, Response(outcome, f"request-{len(self.calls)}"), self.time)
                else:
                    step = machine.advance(step, outcome, self.time)
            self.final = step
        except RestoreError as ended:
            self._error = ended

    @property
    def result(self) -> Backup | None:
        """The backup that was returned."""
        return self.final.backup if self.final else None

    @property
    def error(self) -> RestoreError:
        """The error that was raised."""
        assert self._error is not None
        return self._error


def test_one_call_if_all_goes_well() -> None:
    """RestoreBackup returns a READY backup, and that is all."""
    run = Run(READY)
    assert run.calls == [RESTORE]
    assert run.final == RestoreResult("backup-1", READY, changed=True, request_id="request-1")


AMBIGUOUS = [
    ConnectionLostError,
    ResponseTimeoutError,
    TransportError,
    UnexpectedResponseError,
    InternalFailureError,
]
AMBIGUOUS_BEFORE = [
    ConnectError,
    ThrottlingError,
    AccessDeniedError,
    AuthenticationError,
    ResourceNotFoundError,
]


@pytest.mark.parametrize("cls", [*AMBIGUOUS, *AMBIGUOUS_BEFORE, InvalidRequestError])
def test_describe_backups_resolves_an_unknown_outcome(cls: type[RestoreError]) -> None:
    """An error with an unknown outcome leads to DescribeBackups immediately."""
    run = Run(error(cls, unknown=True), READY)
    assert run.calls == [RESTORE, DESCRIBE]
    assert run.waits == []
    assert run.result is READY


def test_a_backup_that_is_already_ready() -> None:
    """RestoreBackup is rejected as invalid, and DescribeBackups reports READY: it was so before this call."""
    run = Run(error(InvalidRequestError), READY)
    assert run.calls == [RESTORE, DESCRIBE]
    assert run.final == RestoreResult("backup-1", READY, changed=False, request_id="request-2")


@pytest.mark.parametrize(
    ("outcomes", "changed"),
    [
        ([READY], True),
        ([error(ThrottlingError), READY], True),
        ([error(InvalidRequestError), PENDING, READY], True),
        ([error(ConnectionLostError, unknown=True), PENDING, READY], True),
        ([error(InvalidRequestError), READY], False),
        ([error(InvalidRequestError), CREATING, READY], False),
        ([error(ConnectionLostError, unknown=True), READY], None),
        ([error(InvalidRequestError, unknown=True), READY], None),
        ([error(ConnectionLostError, unknown=True), PENDING, error(InvalidRequestError), READY], None),
        ([CREATING, READY], None),
    ],
)
def test_a_result_says_whether_this_call_restored_the_backup(
    outcomes: list[Outcome], changed: bool | None
) -> None:
    """True if RestoreBackup returned READY, False if no attempt can have done it, None if one may have."""
    run = Run(*outcomes)
    assert run.final is not None
    assert run.final.changed is changed
    assert run.final.request_id == f"request-{len(outcomes)}"


@pytest.mark.parametrize(
    "cls",
    [
        AccessDeniedError, AuthenticationError, ConfigurationError, ParameterError, ConnectError,
        ResourceNotFoundError, ServiceError, TagError, ApiError,
    ],
)  # fmt: skip
def test_a_plain_rejection_is_raised_immediately(cls: type[RestoreError]) -> None:
    """It ends the restore with a known outcome."""
    run = Run(error(cls))
    assert run.calls == [RESTORE]
    assert type(run.error) is cls
    assert not run.error.outcome_unknown


def test_a_throttled_restore_is_retried() -> None:
    """It waits, and calls RestoreBackup again."""
    run = Run(error(ThrottlingError), error(ThrottlingError), READY)
    assert run.calls == [RESTORE] * 3
    assert len(run.waits) == 2
    assert {wait.cause for wait in run.waits} == {"throttled"}
    assert run.result is READY


def test_backoff_is_exponential_with_full_jitter() -> None:
    """A wait is random, up to a limit that doubles from half a second to twenty."""
    run = Run(*[error(ThrottlingError)] * 9)
    assert [wait.wait / 0.5 for wait in run.waits] == [0.5, 1, 2, 4, 8, 16, 20, 20, 20]


@pytest.mark.parametrize(
    ("outcomes", "calls", "waits"),
    [
        ([CREATING, READY], [RESTORE, DESCRIBE], 1),
        ([PENDING, READY], [RESTORE, RESTORE], 1),
        ([STATELESS, READY], [RESTORE, DESCRIBE], 0),
        ([ARCHIVED, READY], [RESTORE, DESCRIBE], 0),
        ([error(InvalidRequestError), CREATING, READY], [RESTORE, DESCRIBE, DESCRIBE], 1),
        ([error(InvalidRequestError), STATELESS, READY], [RESTORE, DESCRIBE, DESCRIBE], 1),
        ([error(InvalidRequestError), PENDING, READY], [RESTORE, DESCRIBE, RESTORE], 1),
        ([error(ConnectionLostError, unknown=True), PENDING, READY], [RESTORE, DESCRIBE, RESTORE], 1),
    ],
)
def test_the_state_decides_what_follows(outcomes: list[Outcome], calls: list[str], waits: int) -> None:
    """PENDING_DELETION leads to RestoreBackup, CREATE_IN_PROGRESS and a missing state to DescribeBackups."""
    run = Run(*outcomes)
    assert run.calls == calls
    assert len(run.waits) == waits
    assert run.result is READY


@pytest.mark.parametrize("backup", [DELETED, ARCHIVED])
def test_a_backup_that_cannot_be_restored(backup: Backup) -> None:
    """DELETED or an unknown state ends in NotRestorableError, which holds the backup."""
    run = Run(error(InvalidRequestError), backup)
    assert isinstance(run.error, NotRestorableError)
    assert run.error.backup is backup
    assert str(backup.backup_state) in str(run.error)
    assert not run.error.outcome_unknown


def test_a_backup_that_does_not_exist() -> None:
    """DescribeBackups resolves it with ResourceNotFoundError, unless an attempt was ambiguous."""
    rejected = Run(error(InvalidRequestError), error(ResourceNotFoundError))
    assert isinstance(rejected.error, ResourceNotFoundError)
    assert not rejected.error.outcome_unknown
    lost = Run(error(ConnectionLostError, unknown=True), error(ResourceNotFoundError))
    assert isinstance(lost.error, ResourceNotFoundError)
    assert lost.error.outcome_unknown


@pytest.mark.parametrize(
    "cls", [AccessDeniedError, AuthenticationError, ConfigurationError, TagError, ServiceError]
)
@pytest.mark.parametrize(
    "first", [error(InvalidRequestError), error(ConnectionLostError, unknown=True)], ids=["rejected", "lost"]
)
def test_an_outcome_that_cannot_be_resolved(first: RestoreError, cls: type[RestoreError]) -> None:
    """If DescribeBackups is rejected, its error is raised, and says that the outcome is unknown."""
    run = Run(first, error(cls))
    assert run.calls == [RESTORE, DESCRIBE]
    assert type(run.error) is cls
    assert run.error.outcome_unknown


def test_an_id_that_both_operations_reject() -> None:
    """If DescribeBackups rejects the ID, too, the first error is raised, with a known outcome."""
    first = error(InvalidRequestError)
    run = Run(first, error(InvalidRequestError))
    assert run.error is first
    assert not run.error.outcome_unknown


@pytest.mark.parametrize("cls", [*AMBIGUOUS, ConnectError, ThrottlingError])
def test_describe_backups_is_retried(cls: type[RestoreError]) -> None:
    """A retryable error of DescribeBackups leads to a wait and another call."""
    run = Run(error(InvalidRequestError), error(cls), READY)
    assert run.calls == [RESTORE, DESCRIBE, DESCRIBE]
    assert len(run.waits) == 1
    assert run.result is READY


def test_pending_deletion_does_not_resolve_an_unknown_outcome() -> None:
    """A request whose response was lost may be processed later, after DescribeBackups was called."""
    run = Run(error(ConnectionLostError, unknown=True), PENDING, error(AccessDeniedError))
    assert isinstance(run.error, AccessDeniedError)
    assert run.error.outcome_unknown
    assert run.error.backup is PENDING


def test_a_refused_connection_after_an_unknown_outcome() -> None:
    """Something can still be resolved, so RestoreBackup is retried, and its error is not raised."""
    run = Run(error(ConnectionLostError, unknown=True), PENDING, error(ConnectError), READY)
    assert run.calls == [RESTORE, DESCRIBE, RESTORE, RESTORE]
    assert len(run.waits) == 2


def test_a_refused_connection_after_a_rejected_exemption() -> None:
    """No response to DescribeBackups outranks the rejection: RestoreBackup shows the state."""
    rejected = error(InvalidRequestError)
    run = Run(READY, rejected, PENDING, error(ConnectError), READY, EXEMPT, never_expires=True)
    assert run.calls == [RESTORE, MODIFY, DESCRIBE, RESTORE, RESTORE, MODIFY]
    assert run.result is EXEMPT


# --- The deadline ---


@pytest.mark.parametrize(
    ("outcomes", "unknown", "last"),
    [
        ([error(ThrottlingError)] * 99, False, None),
        ([error(InvalidRequestError), *[CREATING] * 99], False, CREATING),
        ([error(InvalidRequestError), *[STATELESS] * 99], False, STATELESS),
        ([error(InvalidRequestError), *[error(ConnectError)] * 99], True, None),
        ([error(ConnectionLostError, unknown=True), *[error(ThrottlingError)] * 99], True, None),
        ([error(ConnectionLostError, unknown=True), *[PENDING, error(ThrottlingError)] * 99], True, PENDING),
    ],
)
def test_the_time_runs_out(outcomes: list[Outcome], unknown: bool, last: Backup | None) -> None:
    """A WaitTimeoutError has the last state, the last error, and whether the outcome is unknown."""
    run = Run(*outcomes, timeout=60.0)
    assert isinstance(run.error, WaitTimeoutError)
    assert run.time == pytest.approx(60.0)
    assert run.error.outcome_unknown is unknown
    assert run.error.backup is last
    assert "60 s" in str(run.error)
    if isinstance(outcomes[-1], Backup):
        assert run.error.__cause__ is None
    else:
        assert run.error.__cause__ is outcomes[-1]
        assert f"last error: {type(outcomes[-1]).__name__}" in str(run.error)


def test_a_timeout_has_the_code_and_the_request_id_of_the_last_error() -> None:
    """AWS Support needs them."""
    response = {
        "Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"},
        "ResponseMetadata": {"RequestId": "request-17"},
    }
    run = Run(*[ThrottlingError(response, "RestoreBackup")] * 99, timeout=60.0)
    assert "last error: ThrottlingError (ThrottlingException, request ID request-17)" in str(run.error)


def test_a_timeout_has_the_error_that_repeats_even_if_each_is_resolved() -> None:
    """The error explains the timeout. The responses in between explain nothing."""
    failed = error(InternalFailureError, unknown=True)
    again: list[Outcome] = [failed, PENDING]
    run = Run(*again * 99, timeout=60.0)
    assert "last state: PENDING_DELETION; last error: InternalFailureError" in str(run.error)
    assert run.error.__cause__ is failed
    assert str(run.error).count("ensure_restored()") == 1


def test_the_last_attempt_starts_before_the_deadline() -> None:
    """A backoff that would reach beyond the deadline is cut, so that there is time for one more attempt."""
    run = Run(*[error(ThrottlingError)] * 99, timeout=2.0)
    assert [round(wait.wait, 6) for wait in run.waits] == [0.25, 0.5, 1.0, 0.15, 0.1]
    assert run.calls == [RESTORE] * 5


@pytest.mark.parametrize("response", [PENDING, CREATING, STATELESS, ARCHIVED, DELETED])
def test_a_response_that_is_not_ready_is_ambiguous(response: Backup) -> None:
    """RestoreBackup was accepted: whatever state its response shows, the backup may have been restored."""
    for then in ([error(AccessDeniedError)], [response] * 99, [error(ConnectError)] * 99):
        assert Run(response, *then, timeout=60).error.outcome_unknown
    assert Run(response, READY).result is READY


def test_no_time_at_all() -> None:
    """With timeout 0 there is one attempt, its outcome is resolved, and nothing else is sent."""
    assert Run(error(InvalidRequestError), READY, timeout=0).result is READY
    run = Run(error(InvalidRequestError), CREATING, timeout=0)
    assert run.calls == [RESTORE, DESCRIBE]
    assert isinstance(run.error, WaitTimeoutError)
    run = Run(READY, timeout=0, never_expires=True)
    assert run.calls == [RESTORE]
    assert isinstance(run.error, WaitTimeoutError)
    assert run.error.backup is READY
    assert not run.error.outcome_unknown
    assert "never_expires was not set to True within 0 s. The backup is restored (READY)." in str(run.error)


# --- The exemption ---


def test_the_exemption_follows_the_restore() -> None:
    """``never_expires`` is set once the backup is READY, unless it already has the wanted value."""
    assert Run(READY, EXEMPT, never_expires=True).calls == [RESTORE, MODIFY]
    assert Run(READY, EXEMPT, never_expires=True).result is EXEMPT
    assert Run(EXEMPT, never_expires=True).calls == [RESTORE]
    assert Run(READY, never_expires=False).calls == [RESTORE]
    assert Run(READY, never_expires=None).calls == [RESTORE]
    already = Run(error(InvalidRequestError), READY, EXEMPT, never_expires=True)
    assert already.calls == [RESTORE, DESCRIBE, MODIFY]
    assert already.final is not None
    assert already.final.changed is False


def test_an_exemption_that_its_response_contradicts() -> None:
    """A response with another ``never_expires`` is ambiguous, and the exemption is retried."""
    run = Run(READY, READY, EXEMPT, never_expires=True)
    assert run.calls == [RESTORE, MODIFY, MODIFY]
    assert run.result is EXEMPT
    run = Run(READY, *[READY] * 99, never_expires=True, timeout=10.0)
    assert isinstance(run.error, WaitTimeoutError)
    assert run.error.operation == "ModifyBackupAttributes"
    assert run.error.backup is READY
    assert run.error.outcome_unknown


def test_an_exemption_that_a_later_response_contradicts() -> None:
    """That response may be stale, so that the outcome of the exemption is unknown until it is retried."""
    stateless = EXEMPT.model_copy(update={"backup_state": None})
    run = Run(READY, stateless, READY, error(AccessDeniedError), never_expires=True)
    assert run.calls == [RESTORE, MODIFY, DESCRIBE, MODIFY]
    assert len(run.waits) == 1
    assert run.error.backup is READY
    assert run.error.outcome_unknown
    partial = Backup(backup_id="backup-1", backup_state=BackupState.READY)
    reset = STATELESS.model_copy(update={"never_expires": False})
    run = Run(READY, stateless, reset, partial, EXEMPT, never_expires=True)
    assert run.calls == [RESTORE, MODIFY, DESCRIBE, DESCRIBE, MODIFY]
    assert run.result is EXEMPT


@pytest.mark.parametrize("cls", [AccessDeniedError, ParameterError, ServiceError])
@pytest.mark.parametrize(
    "first", [[READY], [error(ConnectionLostError, unknown=True), READY]], ids=["plain", "lost"]
)
def test_only_the_exemption_fails(first: list[Outcome], cls: type[RestoreError]) -> None:
    """The error carries the restored backup and says that it is restored. Nothing is unknown."""
    run = Run(*first, error(cls), never_expires=True)
    assert type(run.error) is cls
    assert run.error.backup is READY
    assert not run.error.outcome_unknown
    assert "The backup is restored (READY)." in str(run.error)


@pytest.mark.parametrize("cls", AMBIGUOUS)
def test_an_ambiguous_exemption_is_resolved(cls: type[RestoreError]) -> None:
    """DescribeBackups shows whether it worked; if not, it is retried."""
    lost = error(cls, unknown=True)
    run = Run(READY, lost, EXEMPT, never_expires=True)
    assert run.calls == [RESTORE, MODIFY, DESCRIBE]
    assert run.result is EXEMPT
    run = Run(READY, lost, READY, EXEMPT, never_expires=True)
    assert run.calls == [RESTORE, MODIFY, DESCRIBE, MODIFY]
    assert run.result is EXEMPT


@pytest.mark.parametrize(
    "after",
    [[READY], [error(AccessDeniedError)], [error(ThrottlingError)]],
    ids=["not set", "denied", "throttled"],
)
def test_an_exemption_whose_outcome_stays_unknown(after: list[Outcome]) -> None:
    """The error says that the backup is READY and that the outcome of the exemption is unknown."""
    run = Run(READY, error(ConnectionLostError, unknown=True), *after * 99, never_expires=True, timeout=10)
    assert run.error.outcome_unknown
    assert run.error.backup is READY
    assert "The backup is READY, but the outcome of changing never_expires is unknown." in str(run.error)


def test_a_throttled_exemption_is_retried() -> None:
    """It was not carried out, so there is nothing to resolve."""
    run = Run(READY, error(ThrottlingError), error(ConnectError), EXEMPT, never_expires=True)
    assert run.calls == [RESTORE, MODIFY, MODIFY, MODIFY]
    assert run.result is EXEMPT


def test_an_exemption_response_without_a_state() -> None:
    """DescribeBackups then shows the state. If it is stale, the exemption is repeated."""
    stateless = EXEMPT.model_copy(update={"backup_state": None})
    assert Run(READY, stateless, EXEMPT, never_expires=True).result is EXEMPT
    run = Run(READY, stateless, READY, EXEMPT, never_expires=True)
    assert run.calls == [RESTORE, MODIFY, DESCRIBE, MODIFY]
    assert run.result is EXEMPT


@pytest.mark.parametrize("cls", [InvalidRequestError, ResourceNotFoundError])
def test_another_user_deletes_the_backup_before_the_exemption(cls: type[RestoreError]) -> None:
    """The exemption is rejected, the backup is PENDING_DELETION again, and both writes are repeated."""
    run = Run(READY, error(cls), PENDING, READY, EXEMPT, never_expires=True)
    assert run.calls == [RESTORE, MODIFY, DESCRIBE, RESTORE, MODIFY]
    assert run.result is EXEMPT
    for gone in (DELETED, error(ResourceNotFoundError)):
        run = Run(READY, error(cls), gone, never_expires=True)
        assert isinstance(run.error, NotRestorableError | ResourceNotFoundError)
        assert run.error.outcome_unknown  # This call restored it, and it is no longer READY.
        assert "The backup is restored" not in str(run.error)


def test_a_rejected_exemption_outranks_a_stale_response() -> None:
    """If DescribeBackups shows READY anyway, RestoreBackup shows the state."""
    run = Run(READY, error(InvalidRequestError), READY, READY, EXEMPT, never_expires=True)
    assert run.calls == [RESTORE, MODIFY, DESCRIBE, RESTORE, MODIFY]
    assert len(run.waits) == 1
    assert run.result is EXEMPT


def test_an_exemption_that_is_rejected_for_another_reason() -> None:
    """RestoreBackup is rejected, so that READY is certain. The second rejection is the error."""
    rejection = error(InvalidRequestError)
    once: list[Outcome] = [error(InvalidRequestError), READY, error(InvalidRequestError), READY]
    run = Run(READY, *once, rejection, *once[1:], never_expires=True)
    assert run.calls == [RESTORE, *[MODIFY, DESCRIBE, RESTORE, DESCRIBE] * 2]
    assert run.error is rejection
    assert run.error.backup is READY
    assert not run.error.outcome_unknown


def test_an_exemption_that_comes_too_early_is_retried() -> None:
    """The part of the service that rejects it has perhaps not seen the restore. The second is accepted."""
    rejected = error(InvalidRequestError)
    run = Run(READY, rejected, READY, rejected, READY, EXEMPT, never_expires=True)
    assert run.calls == [RESTORE, MODIFY, DESCRIBE, RESTORE, DESCRIBE, MODIFY]
    assert run.result is EXEMPT


def test_a_retried_exemption_whose_response_is_lost() -> None:
    """It is sent again: the rejection before it says nothing about its outcome."""
    rejected, lost = error(InvalidRequestError), error(ConnectionLostError, unknown=True)
    run = Run(READY, rejected, READY, rejected, READY, lost, READY, EXEMPT, never_expires=True)
    assert run.calls == [RESTORE, MODIFY, DESCRIBE, RESTORE, DESCRIBE, MODIFY, DESCRIBE, MODIFY]
    assert run.result is EXEMPT
    # The same if RestoreBackup has shown that the backup was deleted meanwhile.
    run = Run(READY, rejected, READY, READY, lost, READY, EXEMPT, never_expires=True)
    assert run.calls == [RESTORE, MODIFY, DESCRIBE, RESTORE, MODIFY, DESCRIBE, MODIFY]


@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize("between", [[], [STATELESS], [error(ConnectError)]])
def test_a_rejected_exemption_outranks_a_response_that_shows_it(
    between: list[Outcome], unknown: bool
) -> None:
    """READY with the wanted ``never_expires`` may be stale, too, so that RestoreBackup shows the state."""
    rejected: list[Outcome] = [READY, error(InvalidRequestError, unknown=unknown), *between]
    describes = [DESCRIBE] * (1 + len(between))
    run = Run(*rejected, EXEMPT, EXEMPT, never_expires=True)
    assert run.calls == [RESTORE, MODIFY, *describes, RESTORE]
    assert run.result is EXEMPT
    lost = error(ConnectionLostError, unknown=True)
    run = Run(*rejected, EXEMPT, lost, EXEMPT, error(AccessDeniedError), never_expires=True)
    assert run.calls == [RESTORE, MODIFY, *describes, RESTORE, DESCRIBE, RESTORE]
    assert run.error.outcome_unknown
    assert run.error.backup is not None
    assert run.error.backup.backup_state is None


def test_a_rejected_exemption_that_another_user_made_unnecessary() -> None:
    """RestoreBackup is rejected, so that READY with the wanted ``never_expires`` is certain."""
    rejected = error(InvalidRequestError)
    run = Run(READY, rejected, EXEMPT, rejected, EXEMPT, never_expires=True)
    assert run.calls == [RESTORE, MODIFY, DESCRIBE, RESTORE, DESCRIBE]
    assert run.result is EXEMPT


def test_a_service_that_contradicts_itself_until_the_deadline() -> None:
    """It rejects each exemption, and accepts each RestoreBackup. The last rejection is not resolved."""
    again: list[Outcome] = [error(InvalidRequestError), READY, READY]
    run = Run(READY, *again * 99, never_expires=True, timeout=60)
    assert isinstance(run.error, WaitTimeoutError)
    assert len(run.calls) < 40
    assert run.error.outcome_unknown


@pytest.mark.parametrize("after", [[READY], [error(AccessDeniedError)], [error(ConnectError)]])
def test_a_contradiction_at_the_deadline_stays_unknown(after: list[Outcome]) -> None:
    """The exemption was rejected, so that READY is not certain, and there is no time to resolve it."""
    run = Run(
        READY,
        error(ThrottlingError),
        error(InvalidRequestError),
        *after * 99,
        never_expires=True,
        timeout=0.4,
    )
    assert run.error.outcome_unknown
    assert run.error.backup is None or run.error.backup.backup_state is None
    assert "The backup may have been restored anyway." in str(run.error)


def test_a_contradiction_exactly_at_the_deadline() -> None:
    """The rejection is raised, and not a timeout: it says more."""
    machine = RestoreStateMachine("backup-1", never_expires=True, timeout=60, now=0, random=lambda: 0.5)
    rejection, step = error(InvalidRequestError), machine.first
    for outcome in (Response(READY, None), rejection):
        following = machine.advance(step, outcome, 1)
        assert isinstance(following, Step)
        step = following
    with pytest.raises(InvalidRequestError) as caught:
        machine.advance(step, Response(READY, None), 60)
    assert caught.value is rejection


def test_a_rejection_for_another_reason_at_the_deadline() -> None:
    """The rejection is raised, and not a timeout: there is no time to retry the exemption."""
    machine = RestoreStateMachine("backup-1", never_expires=True, timeout=60, now=0, random=lambda: 0.5)
    rejection, step = error(InvalidRequestError), machine.first
    ready = Response(READY, None)
    for outcome in (ready, rejection, ready, error(InvalidRequestError)):
        following = machine.advance(step, outcome, 1)
        assert isinstance(following, Step)
        step = following
    with pytest.raises(InvalidRequestError) as caught:
        machine.advance(step, ready, 60)
    assert caught.value is rejection


def test_deleted_again_during_the_exemption() -> None:
    """A backup that is PENDING_DELETION again is restored again."""
    run = Run(READY, PENDING, READY, EXEMPT, never_expires=True)
    assert run.calls == [RESTORE, MODIFY, RESTORE, MODIFY]
    assert run.result is EXEMPT


def test_permanently_deleted_after_it_was_ready() -> None:
    """The message does not say that another call finds anything out."""
    run = Run(READY, error(InvalidRequestError), DELETED, never_expires=True)
    assert isinstance(run.error, NotRestorableError)
    assert run.error.outcome_unknown
    assert "may have restored the backup, but it has been permanently deleted since." in str(run.error)
    assert "find out" not in str(run.error)


def test_a_cancelled_restore_reports_what_is_known() -> None:
    """Its error has the last state and the last error, as after a timeout."""
    machine = RestoreStateMachine("backup-1", never_expires=None, timeout=60, now=0, random=lambda: 0.5)
    machine.advance(machine.first, error(ThrottlingError), 0)
    assert "cancelled; last error: ThrottlingError" in str(machine.cancelled())
    assert not machine.cancelled().outcome_unknown


def test_a_result_is_a_backup_or_an_error() -> None:
    """``unwrap`` returns the backup or raises the error; ``ok`` says which."""
    good, failed = RestoreResult("backup-1", READY), RestoreResult("backup-1", error=error(ThrottlingError))
    assert good.ok
    assert good.unwrap() is READY
    assert not failed.ok
    with pytest.raises(ThrottlingError):
        failed.unwrap()
    assert not RestoreResult("backup-1").ok
    with pytest.raises(RestoreError):
        RestoreResult("backup-1").unwrap()
    with pytest.raises(ValueError, match="either a backup or an error"):
        RestoreResult("backup-1", READY, error(ThrottlingError))
    frozen: Any = good
    with pytest.raises(AttributeError):
        frozen.backup = None

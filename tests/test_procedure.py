"""The decisions about a restore, without I/O: what follows from which outcome."""

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
from cloudhsm_restore._procedure import Ask, Exempt, Restore, Restoring, Step, Wait

READY = Backup(backup_id="backup-1", backup_state=BackupState.READY, never_expires=False)
PENDING = Backup(backup_id="backup-1", backup_state=BackupState.PENDING_DELETION)
CREATING = Backup(backup_id="backup-1", backup_state=BackupState.CREATE_IN_PROGRESS)
DELETED = Backup(backup_id="backup-1", backup_state=BackupState.DELETED)
ARCHIVED = Backup(backup_id="backup-1", backup_state=BackupState("ARCHIVED"))
STATELESS = Backup(backup_id="backup-1")

Outcome = Backup | RestoreError


def error(cls: type[RestoreError], *, doubt: bool = False) -> RestoreError:
    """An error of a class, with or without doubt."""
    if issubclass(cls, ApiError):
        return cls({}, "RestoreBackup", outcome_unknown=doubt)
    return cls("x", operation="RestoreBackup", outcome_unknown=doubt)


class Run:
    """Plays a restore with given outcomes, on a clock that waits move."""

    def __init__(self, *outcomes: Outcome, never_expires: bool | None = None, timeout: float = 1e9) -> None:
        self.steps: list[str] = []
        self.waits: list[Wait] = []
        self.result: Backup | None = None
        self._error: RestoreError | None = None
        self.time = 0.0
        run = Restoring("backup-1", never_expires=never_expires, timeout=timeout, now=0.0, random=lambda: 0.5)
        step: Step = run.first
        left = list(outcomes)
        try:
            while True:
                self.steps.append(type(step).__name__)
                outcome: Outcome | None = None
                if isinstance(step, Wait):
                    self.waits.append(step)
                    self.time += step.seconds
                elif not left:
                    return
                else:
                    outcome = left.pop(0)
                following = run.after(step, outcome, self.time)
                if isinstance(following, Backup):
                    self.result = following
                    return
                step = following
        except RestoreError as ended:
            self._error = ended

    @property
    def error(self) -> RestoreError:
        """The error that it ended with."""
        assert self._error is not None
        return self._error


def test_an_exemption_that_the_answer_denies() -> None:
    """An answer that shows another ``never_expires`` is no success: it is asked for again."""
    exempt = READY.model_copy(update={"never_expires": True})
    run = Run(READY, READY, exempt, never_expires=True)
    assert run.steps == ["Restore", "Exempt", "Wait", "Exempt"]
    assert run.result is exempt
    run = Run(READY, READY, never_expires=True, timeout=0.0)
    assert isinstance(run.error, WaitTimeoutError)
    assert run.error.operation == "ModifyBackupAttributes"
    assert run.error.backup is READY
    assert not run.error.outcome_unknown
    assert "never_expires is not True after 0 s" in str(run.error)


def test_all_goes_well() -> None:
    """One step where RestoreBackup brings a backup that is READY."""
    run = Run(READY)
    assert run.steps == ["Restore"]
    assert run.result is READY


DOUBTS = [
    ConnectionLostError,
    ResponseTimeoutError,
    TransportError,
    UnexpectedResponseError,
    InternalFailureError,
]
ONLY_IF_DOUBTFUL = [
    ConnectError,
    ThrottlingError,
    AccessDeniedError,
    AuthenticationError,
    ResourceNotFoundError,
]


@pytest.mark.parametrize("cls", [*DOUBTS, *ONLY_IF_DOUBTFUL, InvalidRequestError])
def test_a_doubt_is_settled_by_asking(cls: type[RestoreError]) -> None:
    """A failure in doubt, and a refusal as an invalid request, lead to DescribeBackups at once."""
    assert Run(error(cls, doubt=True)).steps == ["Restore", "Ask"]
    assert Run(error(cls, doubt=True), READY).result is READY


def test_a_backup_that_is_ready_already() -> None:
    """Refused as an invalid request, and READY as DescribeBackups says: done."""
    run = Run(error(InvalidRequestError), READY)
    assert run.steps == ["Restore", "Ask"]
    assert run.result is READY


@pytest.mark.parametrize(
    "cls",
    [
        AccessDeniedError, AuthenticationError, ConfigurationError, ParameterError, ConnectError,
        ResourceNotFoundError, ServiceError, TagError, ApiError,
    ],
)  # fmt: skip
def test_what_is_raised_at_once(cls: type[RestoreError]) -> None:
    """A plain refusal of RestoreBackup ends the restore without doubt."""
    run = Run(error(cls))
    assert run.steps == ["Restore"]
    assert type(run.error) is cls
    assert not run.error.outcome_unknown


def test_throttling_is_waited_out() -> None:
    """Throttled: wait, then RestoreBackup again, and say that others should wait too."""
    run = Run(error(ThrottlingError), error(ThrottlingError), READY)
    assert run.steps == ["Restore", "Wait", "Restore", "Wait", "Restore"]
    assert all(wait.throttled for wait in run.waits)
    assert run.result is READY


def test_waits_grow_up_to_a_limit() -> None:
    """Waits are full jitter: random up to a ceiling that doubles from half a second to twenty."""
    run = Run(*[error(ThrottlingError)] * 9)
    assert [wait.seconds / 0.5 for wait in run.waits] == [0.5, 1, 2, 4, 8, 16, 20, 20, 20]


@pytest.mark.parametrize(
    ("answers", "steps"),
    [
        ([CREATING, READY], ["Restore", "Wait", "Ask"]),
        ([PENDING, READY], ["Restore", "Wait", "Restore"]),
        ([STATELESS, READY], ["Restore", "Ask"]),
        ([error(InvalidRequestError), CREATING, READY], ["Restore", "Ask", "Wait", "Ask"]),
        ([error(InvalidRequestError), PENDING, READY], ["Restore", "Ask", "Wait", "Restore"]),
        ([error(ConnectionLostError, doubt=True), PENDING, READY], ["Restore", "Ask", "Wait", "Restore"]),
    ],
)
def test_what_a_state_leads_to(answers: list[Outcome], steps: list[str]) -> None:
    """PENDING_DELETION leads to another RestoreBackup, CREATE_IN_PROGRESS and no state to asking."""
    run = Run(*answers)
    assert run.steps == steps
    assert run.result is READY


@pytest.mark.parametrize("backup", [DELETED, ARCHIVED, STATELESS])
def test_what_cannot_be_restored(backup: Backup) -> None:
    """DELETED, an unknown state or none ends in NotRestorableError, which holds the backup."""
    run = Run(error(InvalidRequestError), backup)
    assert isinstance(run.error, NotRestorableError)
    assert run.error.backup is backup
    assert str(backup.backup_state) in str(run.error)
    assert not run.error.outcome_unknown


def test_a_backup_that_is_not_there() -> None:
    """ResourceNotFoundError is an answer to the question too: there is no doubt left, but of a lost try."""
    refused = Run(error(InvalidRequestError), error(ResourceNotFoundError))
    assert isinstance(refused.error, ResourceNotFoundError)
    assert not refused.error.outcome_unknown
    lost = Run(error(ConnectionLostError, doubt=True), error(ResourceNotFoundError))
    assert isinstance(lost.error, ResourceNotFoundError)
    assert lost.error.outcome_unknown


@pytest.mark.parametrize(
    "cls", [AccessDeniedError, AuthenticationError, ConfigurationError, TagError, ServiceError]
)
@pytest.mark.parametrize(
    "first", [error(InvalidRequestError), error(ConnectionLostError, doubt=True)], ids=["refused", "lost"]
)
def test_a_doubt_that_cannot_be_settled(first: RestoreError, cls: type[RestoreError]) -> None:
    """Where asking is refused, the refusal is raised, and says that the outcome is unknown."""
    run = Run(first, error(cls))
    assert run.steps == ["Restore", "Ask"]
    assert type(run.error) is cls
    assert run.error.outcome_unknown


def test_an_id_that_both_operations_refuse() -> None:
    """Where DescribeBackups refuses the ID as well, the first refusal is raised, without doubt."""
    first = error(InvalidRequestError)
    run = Run(first, error(InvalidRequestError))
    assert run.error is first
    assert not run.error.outcome_unknown


@pytest.mark.parametrize("cls", [*DOUBTS, ConnectError, ThrottlingError])
def test_asking_is_repeated(cls: type[RestoreError]) -> None:
    """A failure of DescribeBackups that may pass is waited out."""
    run = Run(error(InvalidRequestError), error(cls), READY)
    assert run.steps == ["Restore", "Ask", "Wait", "Ask"]
    assert run.waits[0].throttled is (cls is ThrottlingError)
    assert run.result is READY


def test_a_doubt_outlives_pending_deletion() -> None:
    """A lost request may still be carried out after DescribeBackups has said PENDING_DELETION."""
    run = Run(error(ConnectionLostError, doubt=True), PENDING, error(AccessDeniedError))
    assert isinstance(run.error, AccessDeniedError)
    assert run.error.outcome_unknown
    assert run.error.backup is PENDING


def test_a_refused_connection_in_doubt() -> None:
    """After a doubt, a refused connection is waited out, for there is something to find out."""
    run = Run(error(ConnectionLostError, doubt=True), PENDING, error(ConnectError), READY)
    assert run.steps == ["Restore", "Ask", "Wait", "Restore", "Wait", "Ask"]


@pytest.mark.parametrize(
    ("outcomes", "unknown", "seen"),
    [
        ([error(ThrottlingError)] * 99, False, None),
        ([error(InvalidRequestError), *[CREATING] * 99], False, CREATING),
        ([error(InvalidRequestError), *[error(ConnectError)] * 99], True, None),
        ([error(ConnectionLostError, doubt=True), *[error(ThrottlingError)] * 99], True, None),
        ([error(ConnectionLostError, doubt=True), *[PENDING, error(ThrottlingError)] * 99], True, PENDING),
    ],
)
def test_the_time_runs_out(outcomes: list[Outcome], unknown: bool, seen: Backup | None) -> None:
    """At the timeout a WaitTimeoutError says what was last seen, what failed last, and if there is doubt."""
    run = Run(*outcomes, timeout=60.0)
    assert isinstance(run.error, WaitTimeoutError)
    assert run.time == pytest.approx(60.0)
    assert run.error.outcome_unknown is unknown
    assert run.error.backup is seen
    assert "60 s" in str(run.error)
    if isinstance(outcomes[-1], Backup):
        assert run.error.__cause__ is None
    else:
        assert run.error.__cause__ is outcomes[-1]
        assert f"the last failure was {type(outcomes[-1]).__name__}" in str(run.error)


def test_a_timeout_says_what_kept_failing_even_if_the_doubt_was_settled() -> None:
    """The failure that left the doubt explains the timeout; what was answered since explains nothing."""
    failed = error(InternalFailureError, doubt=True)
    again: list[Outcome] = [failed, PENDING]
    run = Run(*again * 99, timeout=60.0)
    assert "it was PENDING_DELETION when last seen; the last failure was InternalFailureError" in str(
        run.error
    )
    assert run.error.__cause__ is failed
    assert str(run.error).count("ensure_restored()") == 1


@pytest.mark.parametrize("answered", [PENDING, CREATING, STATELESS, ARCHIVED, DELETED])
def test_an_answer_that_is_not_ready_is_a_doubt(answered: Backup) -> None:
    """RestoreBackup was accepted: whatever state it was answered with, it may have been restored."""
    for then in ([error(AccessDeniedError)], [answered] * 99, [error(ConnectError)] * 99):
        run = Run(answered, *then, timeout=60)
        assert run.error.outcome_unknown
    assert Run(answered, READY).result is READY


def test_no_time_at_all() -> None:
    """With timeout 0 a doubt is still asked about once, and nothing is waited for."""
    assert Run(error(InvalidRequestError), READY, timeout=0).result is READY
    run = Run(error(InvalidRequestError), CREATING, timeout=0)
    assert run.steps == ["Restore", "Ask"]
    assert isinstance(run.error, WaitTimeoutError)


def test_the_exemption() -> None:
    """``never_expires`` is set once the backup is READY, unless it is as wanted already."""
    exempt = READY.model_copy(update={"never_expires": True})
    assert Run(READY, exempt, never_expires=True).steps == ["Restore", "Exempt"]
    assert Run(READY, exempt, never_expires=True).result is exempt
    assert Run(exempt, never_expires=True).steps == ["Restore"]
    assert Run(READY, never_expires=False).steps == ["Restore"]
    assert Run(READY, never_expires=None).steps == ["Restore"]
    assert Run(error(InvalidRequestError), READY, exempt, never_expires=True).steps == [
        "Restore",
        "Ask",
        "Exempt",
    ]


@pytest.mark.parametrize("cls", [AccessDeniedError, ParameterError, ServiceError])
@pytest.mark.parametrize(
    "first", [[READY], [error(ConnectionLostError, doubt=True), READY]], ids=["plain", "lost"]
)
def test_only_the_exemption_fails(first: list[Outcome], cls: type[RestoreError]) -> None:
    """The error carries the restored backup and says that it is restored; nothing is unknown."""
    run = Run(*first, error(cls), never_expires=True)
    assert type(run.error) is cls
    assert run.error.backup is READY
    assert not run.error.outcome_unknown
    assert "The backup is restored (READY)." in str(run.error)


@pytest.mark.parametrize("cls", [InvalidRequestError, ResourceNotFoundError])
def test_an_exemption_that_the_state_may_have_refused(cls: type[RestoreError]) -> None:
    """DescribeBackups tells a refused exemption from a backup that somebody has deleted again."""
    refusal = error(cls)
    run = Run(READY, refusal, READY, never_expires=True)
    assert run.steps == ["Restore", "Exempt", "Ask"]
    assert run.error is refusal
    assert not run.error.outcome_unknown
    assert "The backup is restored (READY)." in str(run.error)

    exempt = READY.model_copy(update={"never_expires": True})
    run = Run(READY, refusal, PENDING, READY, exempt, never_expires=True)
    assert run.steps == ["Restore", "Exempt", "Ask", "Wait", "Restore", "Exempt"]
    assert run.result is exempt

    for gone in (DELETED, error(ResourceNotFoundError)):
        run = Run(READY, refusal, gone, never_expires=True)
        assert isinstance(run.error, NotRestorableError | ResourceNotFoundError)
        assert run.error.outcome_unknown  # this call restored it, and it is READY no more
        assert "The backup is restored" not in str(run.error)


def test_a_refused_exemption_that_cannot_be_cleared_up() -> None:
    """Where nobody can be asked why the exemption was refused, READY is only what was last seen."""
    run = Run(READY, error(InvalidRequestError), *[error(ConnectError)] * 99, never_expires=True, timeout=60)
    assert isinstance(run.error, WaitTimeoutError)
    assert run.error.backup is READY
    assert run.error.outcome_unknown
    assert "may have been restored" in str(run.error)


@pytest.mark.parametrize("cls", [InvalidRequestError, AccessDeniedError])
def test_a_refused_exemption_and_a_refused_question(cls: type[RestoreError]) -> None:
    """Where DescribeBackups is refused after the exemption was, READY is no longer certain."""
    run = Run(READY, error(InvalidRequestError), error(cls), never_expires=True)
    assert type(run.error) is cls
    assert run.error.outcome_unknown
    assert "The backup is restored" not in str(run.error)


def test_the_exemption_is_repeated() -> None:
    """Setting the attribute twice does no harm, so a lost answer is simply tried again."""
    exempt = READY.model_copy(update={"never_expires": True})
    run = Run(READY, error(ConnectionLostError), error(ThrottlingError), exempt, never_expires=True)
    assert run.steps == ["Restore", "Exempt", "Wait", "Exempt", "Wait", "Exempt"]
    assert run.result is exempt


def test_the_time_runs_out_on_the_exemption() -> None:
    """The timeout then says that the backup is restored."""
    run = Run(READY, *[error(ConnectionLostError)] * 99, never_expires=True, timeout=30)
    assert isinstance(run.error, WaitTimeoutError)
    assert run.error.backup is READY
    assert not run.error.outcome_unknown


def test_deleted_again_during_the_exemption() -> None:
    """A backup that is PENDING_DELETION again is restored again, and not exempted twice."""
    run = Run(READY, PENDING, READY, never_expires=True)
    assert run.steps == ["Restore", "Exempt", "Wait", "Restore"]
    assert run.result is READY


def test_gone_for_good_after_it_was_ready() -> None:
    """Seen READY and then purged: the message does not say that asking again finds anything out."""
    deleted = Backup(backup_id="backup-1", backup_state=BackupState.DELETED)
    run = Run(READY, error(InvalidRequestError), deleted, never_expires=True)
    assert isinstance(run.error, NotRestorableError)
    assert run.error.outcome_unknown
    assert "This call may have restored it, and it was deleted for good since." in str(run.error)
    assert "finds out" not in str(run.error)


def test_a_step_without_an_outcome() -> None:
    """A driver that forgets the outcome of a call is a bug, and is told so."""
    run = Restoring("backup-1", never_expires=None, timeout=1, now=0, random=lambda: 0.5)
    for step in (Restore(), Ask(None), Exempt(True)):
        with pytest.raises(AssertionError):
            run.after(step, None, 0)


def test_a_result_is_a_backup_or_an_error() -> None:
    """``unwrap`` gives the backup or raises the error; ``ok`` says which."""
    good, failed = RestoreResult("backup-1", READY), RestoreResult("backup-1", error=error(ThrottlingError))
    assert good.ok
    assert good.unwrap() is READY
    assert not failed.ok
    with pytest.raises(ThrottlingError):
        failed.unwrap()
    assert not RestoreResult("backup-1").ok
    with pytest.raises(ValueError, match="either a backup or an error"):
        RestoreResult("backup-1", READY, error(ThrottlingError))
    frozen: Any = good
    with pytest.raises(AttributeError):
        frozen.backup = None

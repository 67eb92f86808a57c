"""How a restore is brought to its end: the decisions, without I/O, clock or sleep.

A client carries out a `Step`, tells `Restoring` what came of it and when, and gets the next step::

    run = Restoring(backup_id, ...)
    step = run.first
    step = run.after(step, backup_or_error, now)   # ... until it is a Backup

Both clients are driven by this one class, so that there is one place that decides. The rules:

After RestoreBackup
    an error that leaves a doubt, or InvalidRequestError     ask DescribeBackups
    ThrottlingError                                          wait, RestoreBackup again
    a retryable error, while there is doubt from before      wait, then ask DescribeBackups
    any other error                                          raise it
After DescribeBackups
    a retryable error                                        wait, ask again
    any other error                                          raise it; the doubt stays
After ModifyBackupAttributes (which may be repeated safely)
    a retryable error                                        wait, ModifyBackupAttributes again
    InvalidRequestError, ResourceNotFoundError               ask DescribeBackups; raise it if READY
    any other error                                          raise it; the backup is restored all the same
After any answer, by the backup's state: `_BY_STATE`

A doubt, once there, ends only with READY: a request whose answer was lost may still be carried out after
DescribeBackups has said PENDING_DELETION.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import uniform
from typing import Final, NamedTuple

from ._boundary import logger
from ._secrets import redacted
from .exceptions import (
    InvalidRequestError,
    NotRestorableError,
    ResourceNotFoundError,
    RestoreError,
    ThrottlingError,
    WaitTimeoutError,
    one_line,
)
from .models import Backup, BackupState


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """What became of one backup ID given to ``restore_backups``: a backup or an error, never both."""

    backup_id: str
    """The ID as it was given."""
    backup: Backup | None = None
    """The backup, which is READY; None if it failed."""
    error: RestoreError | None = None
    """Why it failed; None if it did not."""

    def __post_init__(self) -> None:
        if self.backup is not None and self.error is not None:
            raise ValueError("a result has either a backup or an error")

    @property
    def ok(self) -> bool:
        """Whether the backup is READY. A type checker learns more from ``backup is not None``."""
        return self.backup is not None

    def unwrap(self) -> Backup:
        """The backup; raises the error if there is one."""
        if self.backup is None:
            raise self.error or RestoreError(
                "there is neither a backup nor an error", backup_id=self.backup_id
            )
        return self.backup


RestoreResult.__module__ = "cloudhsm_restore"  # where users find it


# --- Steps ---


class Restore(NamedTuple):
    """Call RestoreBackup."""


class Ask(NamedTuple):
    """Ask DescribeBackups for the one backup."""

    because: RestoreError | None
    """The failure that left the doubt."""


class Exempt(NamedTuple):
    """Call ModifyBackupAttributes."""

    never_expires: bool


class Wait(NamedTuple):
    """Let time pass."""

    seconds: float
    throttled: bool
    """Whether the service asked for it, so that others who share the client should wait as well."""
    then: Restore | Ask | Exempt
    """What comes after."""


Request = Restore | Ask | Exempt
Step = Request | Wait

_DONE, _AGAIN, _WAIT = "done", "restore again", "wait, then ask again"

_BY_STATE: Final[Mapping[BackupState, str]] = {
    BackupState.READY: _DONE,
    BackupState.PENDING_DELETION: _AGAIN,
    BackupState.CREATE_IN_PROGRESS: _WAIT,
}
"""What a state means for the restore; one that is not here cannot be restored."""

_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 20.0


def log_settled(backup: Backup, because: RestoreError | None) -> None:
    """Tell the log that DescribeBackups has settled the doubt that a failure left."""
    if because is not None:
        logger.warning(
            "RestoreBackup %s: %s left a doubt, DescribeBackups says %s",
            backup.backup_id,
            type(because).__name__,
            one_line(redacted(str(backup.backup_state))),
            extra={
                "operation": "DescribeBackups",
                "backup_id": backup.backup_id,
                "backup_state": backup.backup_state,
                "request_id": None,
            },
        )


class Throttle:
    """What restores that share a client share: one that is throttled holds all of them."""

    def __init__(self, spread: Callable[[float, float], float] = uniform) -> None:
        """``spread`` gives a random value between two others."""
        self._spread: Final = spread
        self._held_until = 0.0

    def delay(self, step: Step, now: float, deadline: float) -> float:
        """Seconds until ``step`` may be carried out, or has been carried out if it is a `Wait`."""
        if isinstance(step, Wait):
            if step.throttled:
                self._held_until = max(self._held_until, now + step.seconds)
            return step.seconds
        left = min(self._held_until, deadline) - now
        # A little apart, so that not all go on in the same moment.
        return min(left * self._spread(1.0, 1.5), max(deadline - now, 0.0)) if left > 0 else 0.0


class Restoring:
    """One restore: what was seen of it so far, and what follows from that."""

    first: Final[Step] = Restore()

    def __init__(
        self,
        backup_id: str,
        *,
        never_expires: bool | None,
        timeout: float,
        now: float,
        random: Callable[[], float],
    ) -> None:
        """``now`` is in seconds, of any clock that only goes forward; ``random`` gives values from [0, 1)."""
        self._backup_id: Final = backup_id
        self._never_expires: Final = never_expires
        self._timeout: Final = timeout
        self.deadline: Final = now + timeout
        self._random: Final = random
        self._waits = 0
        self._seen: Backup | None = None
        self._error: RestoreError | None = None
        self._failed: RestoreError | None = None  # the last failure that may explain a timeout
        self._doubt = False  # a request may have restored the backup unseen
        self._open: RestoreError | None = None  # the failure that DescribeBackups has not cleared up yet
        self._refusal: RestoreError | None = None  # of the exemption
        self._exempted = never_expires is None

    @property
    def _is_ready(self) -> bool:
        return self._seen is not None and self._seen.backup_state is BackupState.READY

    def after(self, step: Step, outcome: Backup | RestoreError | None, now: float) -> Step | Backup:
        """The next step after ``step`` came to ``outcome``, or the backup; raises what ends the restore."""
        if isinstance(step, Wait):
            return step.then
        if isinstance(outcome, Backup):
            # READY once and not any more: what this call did was undone, which is no plain failure.
            # And a RestoreBackup that was answered with another state may have done its work all the same.
            undone = self._is_ready or isinstance(step, Restore)
            self._doubt = self._doubt or (undone and outcome.backup_state is not BackupState.READY)
            self._seen, self._error, self._open = outcome, None, None
            if isinstance(step, Exempt):
                self._exempted = outcome.never_expires in (None, self._never_expires)
            return self._after_answer(step, outcome, now)
        if outcome is not None:
            self._error, self._doubt = outcome, self._doubt or outcome.outcome_unknown
            self._failed = outcome if outcome.retryable or outcome.outcome_unknown else None
            return self._after_error(step, outcome, now)
        raise AssertionError(f"{step} came to nothing")

    def _after_answer(self, step: Request, backup: Backup, now: float) -> Step | Backup:
        state = backup.backup_state
        meaning = _BY_STATE.get(state) if state else None
        if meaning is None and not isinstance(step, Ask):
            return Ask(None)  # no state, which the model allows, or one that nobody knows
        if meaning != _DONE:
            self._refusal = None  # of the exemption: it was another state that was refused
        if meaning == _AGAIN:
            return self._wait(Restore(), now)
        if meaning == _WAIT:
            return self._wait(Ask(None), now)
        if meaning != _DONE:
            what = f"its state is {redacted(str(state))}, and only PENDING_DELETION can be restored"
            raise self._ended(NotRestorableError(what, operation="RestoreBackup", backup_id=self._backup_id))
        if self._exempted or self._never_expires is None or backup.never_expires is self._never_expires:
            return backup
        if self._refusal is not None:
            raise self._ended(self._refusal)
        exempt = Exempt(self._never_expires)
        return self._wait(exempt, now) if isinstance(step, Exempt) else exempt

    def _after_error(self, step: Request, error: RestoreError, now: float) -> Step:
        if isinstance(step, Restore):
            if error.outcome_unknown or isinstance(error, InvalidRequestError):
                self._open = error
                return Ask(error)
            if isinstance(error, ThrottlingError):
                return self._wait(step, now)
            if self._doubt and error.retryable:
                return self._wait(Ask(error), now)
        elif error.retryable:
            return self._wait(step, now)
        elif isinstance(step, Exempt) and isinstance(error, InvalidRequestError | ResourceNotFoundError):
            self._refusal = self._open = error  # perhaps somebody has deleted the backup again
            return Ask(None)
        elif isinstance(error, ResourceNotFoundError):
            self._doubt, self._seen, self._open = self._doubt or self._is_ready, None, None  # an answer, too
        elif (
            isinstance(error, InvalidRequestError)
            and isinstance(self._open, InvalidRequestError)
            and self._refusal is None
        ):
            error, self._open = self._open, None  # the ID itself is refused, not the state of a backup
        raise self._ended(error)

    def _wait(self, then: Request, now: float) -> Wait:
        if now >= self.deadline:
            state = self._seen.backup_state if self._seen else None
            seen = f"it was {redacted(str(state))} when last seen" if state else "its state was never seen"
            last = f"; the last failure was {type(self._failed).__name__}" if self._failed else ""
            operation, what = "RestoreBackup", f"not READY after {self._timeout:g} s: {seen}{last}"
            if self._is_ready:
                operation = "ModifyBackupAttributes"
                what = f"never_expires is not {self._never_expires} after {self._timeout:g} s{last}"
            timed_out = WaitTimeoutError(what, operation=operation, backup_id=self._backup_id)
            raise self._ended(timed_out) from self._failed
        ceiling = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(self._waits, 16))
        self._waits += 1
        seconds = min(self._random() * ceiling, self.deadline - now)
        return Wait(seconds, throttled=isinstance(self._error, ThrottlingError), then=then)

    def _ended(self, error: RestoreError) -> RestoreError:
        error.backup = self._seen
        error.outcome_unknown = self._open is not None or (self._doubt and not self._is_ready)
        return error

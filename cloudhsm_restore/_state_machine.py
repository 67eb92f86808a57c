"""The state machine behind ``ensure_restored``: pure decisions, without I/O, clock, or sleep.

The client carries out a `Step`, passes the outcome and the time to the machine, and gets the next step, until
it is a `RestoreResult`::

    machine = RestoreStateMachine(backup_id, ...)
    step = machine.first
    step = machine.advance(step, response_or_error, now)   # raises what ends the restore

There are two writes, RestoreBackup and ModifyBackupAttributes (the exemption), and each has its own outcome.
Only a response that shows what was wanted resolves an ambiguous write: READY for the restore, and also the
wanted ``never_expires`` for the exemption. A request whose response was lost may still be processed after
DescribeBackups has shown the old state.

After RestoreBackup
    an ambiguous error, or InvalidRequestError               DescribeBackups
    ThrottlingError                                          wait, RestoreBackup
    a retryable error, if an earlier outcome is unknown      wait, RestoreBackup
    any other error                                          raise it
After DescribeBackups
    a retryable error                                        wait, DescribeBackups
    any other error                                          raise it; an unknown outcome remains unknown
After ModifyBackupAttributes, which is idempotent
    InvalidRequestError, ResourceNotFoundError               DescribeBackups; if READY, wait, RestoreBackup,
                                                             and retry it once if that shows READY
    any other ambiguous error                                DescribeBackups
    a retryable error                                        wait, ModifyBackupAttributes
    any other error                                          raise it; the backup is restored anyway
After a response, by the state of the backup                 `_NEXT_ACTION`; READY leads to the exemption

Once the time is over, only a step that `resolves` the last write is carried out, and never RestoreBackup.
"""

import logging
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, NamedTuple

from ._call import Response
from ._log import log, state_name
from .exceptions import (
    ApiError,
    InvalidRequestError,
    NotRestorableError,
    ResourceNotFoundError,
    RestoreError,
    ThrottlingError,
    WaitTimeoutError,
)
from .models import Backup, BackupState, RestoreResult


class Action(Enum):
    """The call of a step."""

    RESTORE = "RestoreBackup"
    DESCRIBE = "DescribeBackups"
    EXEMPT = "ModifyBackupAttributes"


class Step(NamedTuple):
    """One call, and how long to wait before it."""

    action: Action
    wait: float = 0.0
    """Seconds."""
    cause: str = ""
    """Why to wait, for the log."""
    resolves: bool = False
    """Whether it resolves the outcome of the last write, which happens even after the deadline."""


_NEXT_ACTION: Final[Mapping[BackupState | None, Action]] = {
    BackupState.PENDING_DELETION: Action.RESTORE,
    BackupState.CREATE_IN_PROGRESS: Action.DESCRIBE,
    None: Action.DESCRIBE,  # The service model allows a response without a state.
}
"""What to do, after a wait, about a state other than READY. A state that is not here cannot be restored."""

# Exponential backoff with full jitter, in seconds.
_BACKOFF_BASE: Final = 0.5
_BACKOFF_CAP: Final = 20.0
_LAST_ATTEMPT: Final = 0.1
"""Seconds before the deadline at which the last attempt starts, if the backoff would reach beyond that."""


class RestoreStateMachine:
    """One restore: what is known of it, and what follows from that."""

    first: Final = Step(Action.RESTORE)

    def __init__(
        self,
        backup_id: str,
        *,
        never_expires: bool | None,
        timeout: float,
        now: float,
        random: Callable[[], float],
    ) -> None:
        """Start a restore.

        Args:
            backup_id: the ID of the backup.
            never_expires: the wanted value, or None to leave it.
            timeout: seconds.
            now: the time in seconds, of any clock that only goes forward.
            random: returns values from [0, 1).
        """
        self._backup_id: Final = backup_id
        self._never_expires: Final = never_expires
        self._timeout: Final = timeout
        self.deadline: Final = now + timeout
        self._random: Final = random
        self.attempts = 0
        """How many calls have ended."""
        self._waits = 0
        self._last_backup: Backup | None = None
        self._timeout_cause: RestoreError | None = None  # the last error that was worth a retry
        self._unresolved_error: RestoreError | None = None  # a write's, until a response describes the backup
        self._restore_unknown = False
        self._exemption_unknown = False
        self._exempted = never_expires is None  # whether a response to the exemption confirmed it
        self._rejected_exemption: ApiError | None = None  # until a state explains it, or one is accepted
        self._not_pending = False  # whether RestoreBackup was rejected after a rejected exemption
        self._exemption_retried = False  # whether it was sent again after that
        self._changed: bool | None = False

    @property
    def _is_ready(self) -> bool:
        return self._last_backup is not None and self._last_backup.backup_state is BackupState.READY

    def advance(self, step: Step, outcome: Response | RestoreError, now: float) -> Step | RestoreResult:
        """Return the next step after ``step`` had this outcome, or the result.

        Raises:
            RestoreError: the restore has failed.
        """
        self.attempts += 1
        if isinstance(outcome, Response):
            return self._after_response(step.action, outcome, now)
        self._timeout_cause = outcome if outcome.retryable or outcome.outcome_unknown else None
        if step.action is Action.RESTORE:
            return self._after_restore_error(outcome, now)
        if step.action is Action.EXEMPT:
            return self._after_exemption_error(outcome, now)
        return self._after_describe_error(outcome, now)

    def _after_response(self, action: Action, response: Response, now: float) -> Step | RestoreResult:
        backup, state = response.backup, response.backup.backup_state
        self._log_resolved(action, response)
        if state is BackupState.READY:
            self._restore_unknown = False
            if action is Action.RESTORE:
                self._changed = True
        else:
            # If it was READY before, another user deleted it again. And a RestoreBackup whose response shows
            # another state may have restored it anyway.
            ambiguous = action is Action.RESTORE
            self._restore_unknown |= ambiguous or self._is_ready
            if ambiguous and not self._changed:
                self._changed = None
        self._last_backup, self._unresolved_error = backup, None
        if self._never_expires is not None:
            self._note_exemption(action, backup.never_expires)
        if state is BackupState.READY:
            return self._after_ready(action, response, now)
        if action is not Action.DESCRIBE and (state is None or state not in _NEXT_ACTION):
            return Step(Action.DESCRIBE, resolves=True)  # It decides whether it is too late.
        if state in _NEXT_ACTION:
            if state is not None:
                self._rejected_exemption = None  # This state explains the rejection.
            return self._wait(_NEXT_ACTION[state], now, state_name(state))
        message = f"its state is {state_name(state)}; only PENDING_DELETION can be restored"
        raise self._finalize(
            NotRestorableError(message, operation="RestoreBackup", backup_id=self._backup_id)
        )

    def _note_exemption(self, action: Action, never_expires: bool | None) -> None:
        accepted = action is Action.EXEMPT
        if accepted:
            self._rejected_exemption = None
        if never_expires is (not self._never_expires):
            # The response to the exemption contradicts it, or another user changed it back, or the response
            # is stale. In each case the exemption may have worked.
            self._exemption_unknown |= accepted or self._exempted
            self._exempted = False
        else:
            self._exempted |= accepted

    def _after_ready(self, action: Action, response: Response, now: float) -> Step | RestoreResult:
        rejection = self._rejected_exemption
        if rejection is not None and action is Action.DESCRIBE and not self._not_pending:
            # READY contradicts the rejection. Another user may have deleted the backup again, and may have
            # restored it since; or the response is stale; or the rejection has another reason. RestoreBackup
            # shows which it is: it restores a backup that is PENDING_DELETION, and rejects any other.
            self._forget_state()
            if now >= self.deadline:
                raise self._finalize(rejection)
            return self._wait(Action.RESTORE, now, "exemption rejected")
        if self._exempted or response.backup.never_expires is self._never_expires:
            return RestoreResult(
                self._backup_id, response.backup, changed=self._changed, request_id=response.request_id
            )
        if rejection is not None and self._not_pending:
            # The rejection had another reason than the state. Perhaps it was the state of a moment before.
            if self._exemption_retried or now >= self.deadline:
                raise self._finalize(rejection)
            self._exemption_retried = True
            self._rejected_exemption = None
            return self._wait(Action.EXEMPT, now, "exemption rejected")
        self._rejected_exemption = None
        if action is Action.EXEMPT or self._exemption_unknown or now >= self.deadline:
            return self._wait(Action.EXEMPT, now, "never_expires not set")
        return Step(Action.EXEMPT)

    def _after_restore_error(self, error: RestoreError, now: float) -> Step:
        if error.outcome_unknown:
            self._restore_unknown = True
            self._changed = self._changed or None
        if error.outcome_unknown or isinstance(error, InvalidRequestError):
            self._not_pending = not error.outcome_unknown
            self._unresolved_error = error
            return Step(Action.DESCRIBE, resolves=True)
        # If an earlier outcome is unknown, it can still be resolved, so that this error does not end it.
        if isinstance(error, ThrottlingError) or (self._restore_unknown and error.retryable):
            return self._wait(Action.RESTORE, now, error)
        raise self._finalize(error)

    def _after_describe_error(self, error: RestoreError, now: float) -> Step:
        if error.retryable:
            return self._wait(Action.DESCRIBE, now, error)
        unresolved = self._unresolved_error
        if isinstance(error, ResourceNotFoundError):
            # This resolves it, too: the backup is gone.
            self._last_backup, self._unresolved_error = None, None
        elif isinstance(error, InvalidRequestError) and isinstance(unresolved, InvalidRequestError):
            # Both operations reject the ID itself, not the state of a backup.
            error, self._unresolved_error = unresolved, None
        raise self._finalize(error)

    def _after_exemption_error(self, error: RestoreError, now: float) -> Step:
        self._exemption_unknown |= error.outcome_unknown
        if isinstance(error, InvalidRequestError | ResourceNotFoundError):
            self._rejected_exemption = self._unresolved_error = error
            self._not_pending = False
            self._forget_state()
            return Step(Action.DESCRIBE, resolves=True)
        if error.outcome_unknown:
            return Step(Action.DESCRIBE, resolves=True)
        if error.retryable:
            return self._wait(Action.EXEMPT, now, error)
        raise self._finalize(error)

    def _forget_state(self) -> None:
        """Keep the backup, but not its state, which a rejection has contradicted."""
        self._restore_unknown |= self._is_ready
        if self._last_backup is not None:
            self._last_backup = self._last_backup.model_copy(update={"backup_state": None})

    def _wait(self, action: Action, now: float, cause: RestoreError | str) -> Step:
        left = self.deadline - now
        if left <= 0:
            raise self.timed_out()
        seconds = self._random() * min(_BACKOFF_CAP, _BACKOFF_BASE * 2.0 ** min(self._waits, 16))
        self._waits += 1
        if seconds > left - _LAST_ATTEMPT:
            seconds = left - _LAST_ATTEMPT if left > 2 * _LAST_ATTEMPT else left
        if isinstance(cause, RestoreError):
            cause = "throttled" if isinstance(cause, ThrottlingError) else type(cause).__name__
        return Step(action, seconds, cause)

    def timed_out(self) -> RestoreError:
        """Return the error for a restore whose time is over."""
        state = self._last_backup.backup_state if self._last_backup else None
        operation, message = "RestoreBackup", f"not READY after {self._timeout:g} s: "
        message += f"last state: {state_name(state)}" if state else "its state is not known"
        if self._is_ready:
            operation = "ModifyBackupAttributes"
            message = f"never_expires was not set to {self._never_expires} within {self._timeout:g} s"
        return self._ended(message, operation)

    def cancelled(self) -> RestoreError:
        """Return the error for a cancelled restore."""
        return self._ended("cancelled", "ModifyBackupAttributes" if self._is_ready else "RestoreBackup")

    def _ended(self, message: str, operation: str) -> RestoreError:
        cause = self._timeout_cause
        if isinstance(cause, ApiError):
            request_id = f", request ID {cause.request_id}" if cause.request_id else ""
            message += f"; last error: {type(cause).__name__} ({cause.code}{request_id})"
        elif cause is not None:
            message += f"; last error: {type(cause).__name__}"
        error = WaitTimeoutError(message, operation=operation, backup_id=self._backup_id)
        error.__cause__ = cause
        return self._finalize(error)

    def _finalize(self, error: RestoreError) -> RestoreError:
        error.backup = self._last_backup
        unresolved = self._unresolved_error is not None
        error.outcome_unknown = self._restore_unknown or self._exemption_unknown or unresolved
        return error

    def _log_resolved(self, action: Action, response: Response) -> None:
        if action is Action.DESCRIBE and self._unresolved_error is not None:
            state = state_name(response.backup.backup_state)
            cause = type(self._unresolved_error).__name__
            became = "outcome unknown after" if self._unresolved_error.outcome_unknown else "rejected with"
            log(
                logging.WARNING,
                f"{became} {cause}; DescribeBackups reports {state}",
                operation=self._unresolved_error.operation,
                backup_id=self._backup_id,
                backup_state=state,
                request_id=response.request_id,
            )

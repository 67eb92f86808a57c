"""The exploration: every schedule of the state machine with a model of the service, against the claims.

``make state-space`` explores all reachable states up to the fixed point, hence schedules of every length, and
prints how many states and transitions there are. ``tests/test_state_space.py`` explores short schedules.

A state has three parts: the memory of a `RestoreStateMachine`, the step that it has returned, and a `World`,
which is the service and a record of what really happened. Durations are left out, so that the states are
finite. In each state, any of these events can be the next:

- The request of the step is sent, in several attempts if boto3 retries it. Each is processed, or not, or
  later. Its response arrives, or is lost, or omits the state or ``never_expires``, or contradicts the
  service. DescribeBackups can be one change behind.
- Another user deletes, purges, or restores the backup, or changes ``never_expires``. Its creation completes.
  It disappears. A request whose response was lost is processed.
- The deadline passes, or the call is cancelled.

The machine never sees the record. `CLAIMS` compares the end of each schedule with it.
"""

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from functools import cache
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final, NamedTuple

from cloudhsm_restore import (
    AccessDeniedError,
    ApiError,
    Backup,
    BackupState,
    ConnectError,
    ConnectionLostError,
    InvalidRequestError,
    NotRestorableError,
    ResourceNotFoundError,
    RestoreError,
    RestoreResult,
    ThrottlingError,
    WaitTimeoutError,
)
from cloudhsm_restore._call import Response
from cloudhsm_restore._state_machine import Action, RestoreStateMachine, Step

from . import figures

READY: Final = BackupState.READY
PENDING: Final = BackupState.PENDING_DELETION
CREATING: Final = BackupState.CREATE_IN_PROGRESS
DELETED: Final = BackupState.DELETED
ARCHIVED: Final = BackupState("ARCHIVED")
"""A state that this version does not know."""

IN_TIME, DEADLINE, LATE = 1.0, 10.0, 11.0
"""Times on the clock of the machine."""


# --- The service, and the record ---


class World(NamedTuple):
    """The service, and a record of what really happened."""

    state: BackupState | None
    """None: there is no such backup."""
    never_expires: bool
    previous: tuple[BackupState, bool] | None = None
    """The state and ``never_expires`` before the last change, which a stale response shows."""
    restore_in_flight: bool = False
    """Whether a RestoreBackup request whose response was lost can still be processed."""
    exemption_in_flight: bool = False
    """The same for ModifyBackupAttributes."""

    # The record.
    restored: bool = False
    """Whether a request of this call restored the backup."""
    exempted: bool = False
    """Whether a request of this call changed ``never_expires``, and it still has the wanted value."""
    restore_suspected: bool = False
    """Whether a RestoreBackup was accepted or ambiguous, or a response showed READY."""
    exemption_suspected: bool = False
    """Whether a ModifyBackupAttributes was accepted or ambiguous."""
    unresolved: bool = False
    """Whether a write was rejected, and no response to DescribeBackups has come since."""
    rejected: bool = False
    """Whether the exemption was rejected."""
    not_pending: bool = False
    """Whether RestoreBackup was rejected since the exemption was."""
    known_state: BackupState | None = None
    """The real state, reduced by `kind`, when a fresh response or a rejection last depended on it."""
    known_never_expires: bool | None = None
    """The real ``never_expires`` when a fresh response last depended on it."""
    firm: bool = False
    """Whether the outcome of a write depended on the present state, so that no stale response outranks it."""


class Outcome(NamedTuple):
    """An error, or a response with a backup."""

    error: type[RestoreError] | None = None
    unknown: bool = False
    state: BackupState | None = None
    never_expires: bool | None = None

    def make(self, action: Action) -> Response | RestoreError:
        """Return it in the form that `RestoreStateMachine.advance` takes."""
        if self.error is None:
            backup = Backup(backup_id="backup-1", backup_state=self.state, never_expires=self.never_expires)
            return Response(backup, "request-1")
        if issubclass(self.error, ApiError):
            return self.error({}, action.value, outcome_unknown=self.unknown)
        return self.error("", operation=action.value, outcome_unknown=self.unknown)


class Event(NamedTuple):
    """Something that can happen next: the outcome of a request, or (with None) something else."""

    label: str
    outcome: Outcome | None
    world: World
    """The world afterwards."""


def kind(state: BackupState | None) -> BackupState:
    """Return a state for all that mean the same for a restore: READY, can be restored, or cannot."""
    if state is READY:
        return READY
    return PENDING if state in (PENDING, CREATING) else DELETED


class Service:
    """The model of the service, for a call that wants a value of ``never_expires``, or None."""

    def __init__(self, wanted: bool | None) -> None:
        self.wanted: Final = wanted

    def starts(self) -> Iterator[World]:
        """Yield the worlds in which a call can start."""
        for state in (PENDING, READY, CREATING, DELETED, ARCHIVED, None):
            yield World(state, never_expires=False)
            if self.wanted is not None:
                yield World(state, never_expires=True)

    def events(self, world: World) -> Iterator[Event]:
        """Yield the events that need no request of the machine."""

        def event(label: str, **fields: Any) -> Event:
            return Event(label, None, self._change(world, **fields))

        if world.state is READY:
            yield event("another user deletes the backup", state=PENDING)
            if self.wanted is not None:
                yield event("another user changes never_expires", never_expires=not world.never_expires)
            if world.exemption_in_flight and world.never_expires is not self.wanted:
                label = "the lost ModifyBackupAttributes is processed"
                after = self._process(Action.EXEMPT, world._replace(exemption_in_flight=False))
                yield Event(label, None, after or world)
        elif world.state is PENDING:
            yield event("the backup is permanently deleted", state=DELETED)
            yield event("another user restores the backup", state=READY)
            if world.restore_in_flight:
                label = "the lost RestoreBackup is processed"
                after = self._process(Action.RESTORE, world._replace(restore_in_flight=False))
                yield Event(label, None, after or world)
        elif world.state is CREATING:
            yield event("the creation of the backup completes", state=READY)
        if world.state is not None:
            yield event("the backup disappears", state=None)

    def outcomes(self, action: Action, world: World) -> Iterator[Event]:
        """Yield the outcomes of a request."""
        match action:
            case Action.RESTORE:
                attempt, in_flight = self._restore_attempt, world._replace(restore_in_flight=True)
            case Action.EXEMPT:
                attempt, in_flight = self._exemption_attempt, world._replace(exemption_in_flight=True)
            case Action.DESCRIBE:
                yield from self._describe(world)
                return
        yield from attempt(world, "")
        # boto3 makes several attempts within one call. After a lost response, each later error is ambiguous.
        lost = [("lost, not processed", world), ("lost, processed later or never", in_flight)]
        if (processed := self._process(action, world)) is not None:
            lost.append(("processed, response lost", processed))
        for label, after in lost:
            if action is Action.RESTORE:
                # READY is plausible from now on, and a stale READY looks like a fresh one. The
                # documentation says so.
                after = after._replace(restore_suspected=True, firm=False)  # noqa: PLW2901
            else:
                after = after._replace(exemption_suspected=True)  # noqa: PLW2901
            yield Event(label, Outcome(ConnectionLostError, unknown=True), after)
            yield from attempt(after, f"{label}; then ")

    def _change(self, world: World, **fields: Any) -> World:
        after = world._replace(**fields)
        if (after.state, after.never_expires) == (world.state, world.never_expires):
            return after
        assert world.state is not None
        return after._replace(
            previous=(world.state, world.never_expires),
            exempted=after.exempted and after.never_expires is self.wanted,
            firm=False,
        )

    def _process(self, action: Action, world: World) -> World | None:
        """Return the world after a write was processed; None if its state does not allow it."""
        if action is Action.RESTORE:
            return self._change(world, state=READY, restored=True) if world.state is PENDING else None
        return self._change(world, never_expires=self.wanted, exempted=True) if world.state is READY else None

    def _restore_attempt(self, world: World, lost: str) -> Iterator[Event]:
        """Yield the outcomes of an attempt that is the last; ``lost`` is the label of those before it."""
        restored = self._process(Action.RESTORE, world)
        if restored is not None:
            shown = self._shown(world.never_expires)
            later = world._replace(restore_in_flight=True)
            for label, outcome, after in (
                ("restored", Outcome(state=READY, never_expires=shown), restored),
                ("restored, no state", Outcome(never_expires=shown), restored),
                ("restored, no never_expires", Outcome(state=READY), restored),
                ("restored, shows ARCHIVED", Outcome(state=ARCHIVED, never_expires=shown), restored),
                ("restored, shows PENDING", Outcome(state=PENDING, never_expires=shown), restored),
                ("restored later or never", Outcome(state=PENDING, never_expires=shown), later),
            ):
                # A request that is processed later does not contradict READY.
                known = self._learn(after, outcome, firm=after is restored)
                yield Event(lost + label, outcome, known._replace(restore_suspected=True))
        for label, error, after in self._errors(world, allowed=restored is not None):
            if lost:
                yield Event(lost + label, Outcome(error, unknown=True), world)
            elif error is InvalidRequestError:
                known = after._replace(unresolved=True, not_pending=world.rejected)
                yield Event(label, Outcome(error), known)
            else:
                yield Event(label, Outcome(error), after)

    def _exemption_attempt(self, world: World, lost: str) -> Iterator[Event]:
        wanted, other = self.wanted, not self.wanted
        exempted = self._process(Action.EXEMPT, world)
        responses: list[tuple[str, Outcome, World]] = []
        if exempted is not None:
            responses = [
                ("exempted", Outcome(state=READY, never_expires=wanted), exempted),
                ("exempted, no state", Outcome(never_expires=wanted), exempted),
                ("exempted, no never_expires", Outcome(state=READY), exempted),
                ("exempted, shows the old value", Outcome(state=READY, never_expires=other), exempted),
                ("not exempted, no error", Outcome(state=READY, never_expires=other), world),
            ]
        elif world.state is not None:
            # The service model does not say in which states a backup can be exempted.
            after = self._change(world, never_expires=wanted, exempted=True)
            outcome = Outcome(state=world.state, never_expires=wanted)
            responses = [(f"exempted although {world.state}", outcome, after)]
        for label, outcome, after in responses:
            known = self._learn(after, outcome, firm=True)
            known = known._replace(exemption_suspected=True, known_never_expires=after.never_expires)
            yield Event(lost + label, outcome, known)
        for label, error, after in self._errors(world, allowed=exempted is not None):
            known = after
            if error in (InvalidRequestError, ResourceNotFoundError):
                known = after._replace(unresolved=True, rejected=True, not_pending=False)
            yield Event(lost + label, Outcome(error, unknown=bool(lost)), known)

    def _errors(self, world: World, *, allowed: bool) -> Iterator[tuple[str, type[RestoreError], World]]:
        """Yield the errors of a write, which the state of the backup allows or not."""
        yield "throttled", ThrottlingError, world
        yield "access denied", AccessDeniedError, world
        yield "connection refused", ConnectError, world
        known = world._replace(known_state=kind(world.state), firm=True)
        if allowed:
            # It looks like a rejection because of the state, so the state is not firm.
            yield "rejected for another reason", InvalidRequestError, world._replace(firm=False)
        elif world.state is None:
            yield "not found", ResourceNotFoundError, known
        else:
            yield f"rejected because {world.state}", InvalidRequestError, known

    def _describe(self, world: World) -> Iterator[Event]:
        yield Event("throttled", Outcome(ThrottlingError), world)
        yield Event("lost", Outcome(ConnectionLostError), world)
        yield Event("access denied", Outcome(AccessDeniedError), world)
        yield Event("rejected for another reason", Outcome(InvalidRequestError), world)
        if world.state is None:
            after = world._replace(known_state=DELETED, unresolved=False)
            yield Event("not found", Outcome(ResourceNotFoundError), after)
        else:
            for label, outcome in self._views(world.state, world.never_expires):
                yield Event(label, outcome, self._described(self._learn(world, outcome), outcome))
        if world.previous is not None:
            known = world._replace(
                known_state=world.known_state if world.firm else None, known_never_expires=None
            )
            for label, outcome in self._views(*world.previous):
                yield Event(f"stale, {label}", outcome, self._described(known, outcome))

    def _views(self, state: BackupState, never_expires: bool) -> Iterator[tuple[str, Outcome]]:
        shown = self._shown(never_expires)
        yield f"shows {state}, {shown}", Outcome(state=state, never_expires=shown)
        yield f"shows no state, {shown}", Outcome(never_expires=shown)
        yield f"shows {state}, no never_expires", Outcome(state=state)

    def _shown(self, never_expires: bool) -> bool | None:
        # If no value is wanted, none makes a difference.
        return never_expires if self.wanted is not None else None

    def _described(self, world: World, outcome: Outcome) -> World:
        suspected = world.restore_suspected or outcome.state is READY
        return world._replace(unresolved=False, restore_suspected=suspected)

    def _learn(self, world: World, outcome: Outcome, *, firm: bool = False) -> World:
        """Return the world after a fresh response; ``firm`` if it is that to a write that was processed."""
        if outcome.state is not None or firm:
            world = world._replace(known_state=kind(world.state), firm=world.firm or firm)
        if outcome.never_expires is not None:
            world = world._replace(known_never_expires=world.never_expires)
        return world


# --- The claims ---


class Report(NamedTuple):
    """How a call ended: with a result (``error`` is None) or with an error."""

    error: type[RestoreError] | None
    state: BackupState | None
    never_expires: bool | None
    unknown: bool = False
    changed: bool | None = None

    @classmethod
    def of_error(cls, error: RestoreError) -> "Report":
        """Return what an error reports."""
        backup = error.backup or Backup(backup_id="backup-1")
        return cls(type(error), backup.backup_state, backup.never_expires, error.outcome_unknown)


class End(NamedTuple):
    """The end of a schedule."""

    report: Report
    world: World
    wanted: bool | None
    late: bool
    """Whether the deadline had passed, or the call was cancelled."""
    final: bool
    """Whether the last event was a `FINAL` error."""

    @property
    def is_result(self) -> bool:
        """Whether it is a result."""
        return self.report.error is None

    @property
    def is_known(self) -> bool:
        """Whether it is an error with a known outcome."""
        return self.report.error is not None and not self.report.unknown

    @property
    def has_ready(self) -> bool:
        """Whether the result or the error has a READY backup."""
        return self.report.state is READY

    @property
    def is_exhausted(self) -> bool:
        """Whether the exemption was rejected although the backup is not PENDING_DELETION, or at the end."""
        return self.world.not_pending or (self.world.rejected and self.late)


AFTER_THE_DEADLINE: Final = "after the deadline, nothing is sent but a DescribeBackups that resolves a write"
WITHOUT_A_WAIT: Final = "no step is repeated without a wait"
CLAIMS: Final[Mapping[str, Callable[[End], bool]]] = {
    "a result is READY": lambda end: not end.is_result or end.has_ready,
    "a result does not show the opposite never_expires": lambda end: (
        not end.is_result or end.wanted is None or end.report.never_expires is not (not end.wanted)
    ),
    "no fresher response or rejection contradicts a READY": lambda end: (
        not (end.is_result or (end.is_known and end.has_ready)) or end.world.known_state in (None, READY)
    ),
    "no fresher response contradicts the never_expires of a result": lambda end: (
        not end.is_result or end.wanted is None or end.world.known_never_expires is not (not end.wanted)
    ),
    "changed True: this call has restored the backup": lambda end: (
        end.report.changed is not True or end.world.restored
    ),
    "changed False: this call has not restored the backup, and will not": lambda end: (
        end.report.changed is not False or not (end.world.restored or end.world.restore_in_flight)
    ),
    "known outcome, not READY: this call has not restored the backup, and will not": lambda end: (
        not end.is_known or end.has_ready or not (end.world.restored or end.world.restore_in_flight)
    ),
    "known outcome, READY: this call has not exempted the backup, and will not": lambda end: (
        not (end.is_known and end.has_ready)
        or end.wanted is None
        or not (end.world.exempted or end.world.exemption_in_flight)
    ),
    # Otherwise, a machine for which each outcome is unknown would satisfy all claims.
    "unknown outcome: there is a reason": lambda end: (
        not end.report.unknown
        or (end.has_ready and end.world.exemption_suspected)
        or (not end.has_ready and (end.world.restore_suspected or end.world.unresolved))
    ),
    "NotRestorableError: the backup cannot be restored": lambda end: (
        end.report.error is not NotRestorableError or end.world.known_state in (None, DELETED)
    ),
    "ResourceNotFoundError: there is no such backup": lambda end: (
        end.report.error is not ResourceNotFoundError or end.world.state is None
    ),
    "WaitTimeoutError: the deadline has passed, or the call was cancelled": lambda end: (
        end.report.error is not WaitTimeoutError or end.late
    ),
    "any other error: something final has happened": lambda end: (
        end.report.error in (None, NotRestorableError, WaitTimeoutError) or end.final or end.is_exhausted
    ),
}
"""What must hold at each end."""

FINAL: Final[Mapping[Action, tuple[type[RestoreError] | None, ...]]] = {
    Action.RESTORE: (AccessDeniedError, ConnectError, ResourceNotFoundError),
    Action.DESCRIBE: (AccessDeniedError, InvalidRequestError, ResourceNotFoundError),
    Action.EXEMPT: (AccessDeniedError,),
}
"""The errors that end a call."""


# --- The machine ---

NOT_IN_KEY: Final = {
    "_backup_id", "_timeout", "deadline", "_random", "attempts", "_waits", "_timeout_cause",
}  # fmt: skip
"""The fields that change only durations and messages. Each other field, also a new one, is in the key."""


class Decision(NamedTuple):
    """A machine, and the step that it has returned."""

    machine: RestoreStateMachine
    step: Step

    @property
    def key(self) -> tuple[Any, ...]:
        """What all that follows depends on, except durations."""
        fields = vars(self.machine).items()
        return (
            self.step.action,
            self.step.resolves,
            *(_reduce(value) for name, value in fields if name not in NOT_IN_KEY),
        )


def _reduce(value: Any) -> Any:
    if isinstance(value, Backup):
        return value.backup_state, value.never_expires
    return type(value) if isinstance(value, RestoreError) else value


class Decisions:
    """The decisions of a machine that were reached, each with a number."""

    def __init__(self, machine: type[RestoreStateMachine], wanted: bool | None) -> None:
        self.reached: Final[list[Decision]] = []
        self.immediate: Final = defaultdict[int, set[int]](set)
        """For each decision, those that follow it without a wait."""
        self._numbers: Final[dict[tuple[Any, ...], int]] = {}
        first = machine("backup-1", never_expires=wanted, timeout=DEADLINE, now=0.0, random=lambda: 0.5)
        self.first: Final = self._number(Decision(first, first.first))

    def _number(self, decision: Decision) -> int:
        number = self._numbers.setdefault(decision.key, len(self.reached))
        if number == len(self.reached):
            self.reached.append(decision)
        return number

    def advance(self, number: int, outcome: Outcome, late: bool) -> int | Report:
        """Return the number of the next decision, or the report."""
        machine, step = self._copy(number)
        try:
            following = machine.advance(step, outcome.make(step.action), LATE if late else IN_TIME)
        except RestoreError as error:
            return Report.of_error(error)
        if isinstance(following, RestoreResult):
            backup = following.unwrap()
            return Report(None, backup.backup_state, backup.never_expires, changed=following.changed)
        following_number = self._number(Decision(machine, following))
        if not following.wait:
            self.immediate[number].add(following_number)
        return following_number

    def stop(self, number: int, *, late: bool) -> Report:
        """Return the report if the deadline passes during a wait, or else if the call is cancelled."""
        machine, _ = self._copy(number)
        return Report.of_error(machine.timed_out() if late else machine.cancelled())

    def _copy(self, number: int) -> Decision:
        # A machine changes no object that it keeps, except for an error that it raises.
        machine, step = self.reached[number]
        return Decision(copy(machine), step)


# --- The exploration ---

State = tuple[int, int, bool]
"""The number of a decision, the number of a world, and whether the deadline has passed."""

Transition = tuple[str, State | None, tuple[str, ...]]
"""The label of an event, the state that it leads to (None: an end), and the claims that this breaks."""


class Exploration:
    """Explores what a machine and the service can reach together, the nearest states first."""

    def __init__(self, wanted: bool | None, machine: type[RestoreStateMachine] = RestoreStateMachine) -> None:
        self.states = 0
        self.transitions = 0
        self.length = 0
        """The length of the longest schedules that were explored."""
        self.ends: Final = Counter[str]()
        """How many different ends there are, by the kind of their report."""
        self.broken: Final[dict[str, list[str]]] = {}
        """The claims that do not hold, each with one of the shortest schedules that break it."""
        self._wanted: Final = wanted
        self._service: Final = Service(wanted)
        self._decisions: Final = Decisions(machine, wanted)
        self._worlds: Final[list[World]] = []
        self._world_numbers: Final[dict[World, int]] = {}
        # The same decisions and worlds are part of many states.
        self._advance: Final = cache(self._decisions.advance)
        self._stop: Final = cache(self._decisions.stop)
        self._events: Final = cache(self._find_events)
        self._outcomes: Final = cache(self._find_outcomes)
        self._broken_claims: Final = cache(self._find_broken_claims)

    def run(self, length: int | None = None) -> "Exploration":
        """Explore up to the fixed point, or only the schedules of this length."""
        starts: list[State] = [
            (self._decisions.first, self._number(world), False) for world in self._service.starts()
        ]
        parents: dict[State, State | None] = dict.fromkeys(starts)
        layer = starts
        while layer and self.length != length:
            following: list[State] = []
            for state in layer:
                for _, target, broken in self._transitions(state):
                    self.transitions += 1
                    for claim in broken:
                        if claim not in self.broken:
                            self.broken[claim] = self._schedule(parents, state, claim)
                    if target is not None and target not in parents:
                        parents[target] = state
                        following.append(target)
            layer = following
            self.length += 1
        self.states = len(parents)
        try:
            TopologicalSorter(self._decisions.immediate).prepare()
        except CycleError as error:
            cycle: list[int] = error.args[1]
            steps = [self._decisions.reached[number].step for number in cycle]
            self.broken[WITHOUT_A_WAIT] = [step.action.value for step in steps]
        return self

    def _transitions(self, state: State) -> Iterator[Transition]:
        number, world, late = state
        step = self._decisions.reached[number].step
        for label, after in self._events(world):
            yield label, (number, after, late), ()
        cancelled = self._stop(number, late=False)
        yield "the call is cancelled", None, self._broken_claims(cancelled, world, True, False)
        if not late:
            label = "the deadline passes"
            if step.resolves:
                yield label, (number, world, True), ()
            else:
                # Another restore that is throttled can make any step wait.
                timed_out = self._stop(number, late=True)
                yield label, None, self._broken_claims(timed_out, world, True, False)
        for label, outcome, after in self._outcomes(step.action, world):
            final = outcome.error in FINAL[step.action]
            for late_after in (True,) if late else (False, True):
                following = self._advance(number, outcome, late_after)
                if isinstance(following, Report):
                    yield label, None, self._broken_claims(following, after, late_after, final)
                else:
                    broken = self._broken_by_step(step, following) if late_after else ()
                    yield label, (following, after, late_after), broken

    def _broken_by_step(self, last: Step, number: int) -> tuple[str, ...]:
        step = self._decisions.reached[number].step
        resolves = step.resolves and step.action is Action.DESCRIBE and last.action is not Action.DESCRIBE
        return () if resolves else (AFTER_THE_DEADLINE,)

    def _find_broken_claims(self, report: Report, world: int, late: bool, final: bool) -> tuple[str, ...]:
        self.ends[report.error.__name__ if report.error else "result"] += 1
        end = End(report, self._worlds[world], self._wanted, late, final)
        return tuple(claim for claim, holds in CLAIMS.items() if not holds(end))

    def _find_events(self, world: int) -> list[tuple[str, int]]:
        events = self._service.events(self._worlds[world])
        return [(event.label, self._number(event.world)) for event in events]

    def _find_outcomes(self, action: Action, world: int) -> list[tuple[str, Outcome, int]]:
        events = self._service.outcomes(action, self._worlds[world])
        # Events that differ only in their labels are one transition, and the first has the simplest label.
        labels: dict[tuple[Outcome, World], str] = {}
        for label, outcome, after in events:
            labels.setdefault((outcome or Outcome(), after), f"{action.value}: {label}")
        return [(label, outcome, self._number(after)) for (outcome, after), label in labels.items()]

    def _number(self, world: World) -> int:
        number = self._world_numbers.setdefault(world, len(self._worlds))
        if number == len(self._worlds):
            self._worlds.append(world)
        return number

    def _schedule(self, parents: Mapping[State, State | None], last: State, claim: str) -> list[str]:
        labels = [next(label for label, _, broken in self._transitions(last) if claim in broken)]
        state = last
        while (parent := parents[state]) is not None:
            labels.append(next(label for label, target, _ in self._transitions(parent) if target == state))
            state = parent
        start = self._worlds[state[1]]
        return [f"at the start: {start.state or 'no backup'}, {start.never_expires}", *reversed(labels)]


def main() -> int:
    """Explore everything, and print the figures; return 1 if a claim is broken.

    With ``--write`` the figures are also written into docs/reference/verification.md.
    """
    states = transitions = broken = events = 0
    for wanted in (None, True, False):
        began = time.monotonic()
        found = Exploration(wanted).run()
        print(
            f"never_expires={wanted}: {found.states:,} states, {found.transitions:,} transitions, "
            f"fixed point after {found.length} events, {time.monotonic() - began:.0f} s",
            flush=True,
        )
        for claim, schedule in found.broken.items():
            print(f"  BROKEN: {claim}", *schedule, sep="\n    ")
        states, transitions = states + found.states, transitions + found.transitions
        broken, events = broken + len(found.broken), max(events, found.length)
    claims = len(CLAIMS) + 2
    print(f"{states:,} states, {transitions:,} transitions, {broken} of {claims} claims broken")
    if "--write" in sys.argv:
        table = [
            "| States | Transitions | Fixed point after | Claims | Broken |",
            "| --- | --- | --- | --- | --- |",
            f"| {states:,} | {transitions:,} | {events} events | {claims} | {broken} |",
        ]
        figures.write("state-space", table)
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())

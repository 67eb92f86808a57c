"""The clock of a restore, and the backoff that the restores of one client share."""

import time
from collections.abc import Callable, Iterator
from random import uniform
from typing import Final

from ._state_machine import Step


class Stopwatch:
    """A clock in seconds that goes only forward, even if ``time.monotonic`` stands still or is set back.

    `advance_to` counts each wait in full. Otherwise, with a frozen clock, ``timeout`` would never come.
    """

    def __init__(self) -> None:
        """Start at ``time.monotonic``."""
        self._reading = self._now = time.monotonic()

    def now(self) -> float:
        """Return the time."""
        reading = time.monotonic()
        self._now += max(reading - self._reading, 0.0)
        self._reading = reading
        return self._now

    def time_left(self, deadline: float) -> float:
        """Return the seconds until the deadline; negative after it."""
        return deadline - self.now()

    def advance_to(self, end: float) -> None:
        """Move forward to the end of a wait."""
        self._now = max(self.now(), end)


class Throttle:
    """The backoff that restores of one client share: if one is throttled, all of them wait."""

    def __init__(self, jitter: Callable[[float, float], float] = uniform) -> None:
        """Start without a backoff; ``jitter`` returns a random value between two others."""
        self._jitter: Final = jitter
        self._blocked_until = 0.0

    def delays(self, step: Step, now: Callable[[], float], time_left: Callable[[], float]) -> Iterator[float]:
        """Yield the seconds to wait, one after another, until ``step`` can be carried out.

        Args:
            step: the step.
            now: returns the time, on a clock that the restores share.
            time_left: returns the seconds until the deadline of this restore, beyond which it does not wait.
        """
        if step.throttled:
            self._blocked_until = max(self._blocked_until, now() + step.wait)
        if step.wait > 0:
            yield step.wait
        while (left := min(self._blocked_until - now(), time_left())) > 0:
            # Not all at the same moment.
            yield min(left * self._jitter(1.0, 1.5), time_left())


class Backoff:
    """What the restores of one ``restore_backups`` call share. Each has a `Stopwatch` of its own besides."""

    def __init__(self) -> None:
        """Start without a wait."""
        self.throttle: Final = Throttle()
        self.clock: Final = Stopwatch()

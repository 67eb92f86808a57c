"""The clock of a restore, and the rate of requests that the restores of one `restore_backups` call share."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from ._classify import read_error
from .exceptions import ThrottlingError

_MEASURED: Final = range(3, 9)
"""From how many accepted requests the rate of the service is measured. With fewer, there is no limit."""
_SLOW_DOWN: Final = 1.1
"""How much longer the interval is after a throttled request than the measured one."""
_SPEED_UP: Final = 0.001
"""How much shorter the interval is after an accepted request, times their number since one was throttled.
That is little where the limit was found, and soon more if the limit is no longer there."""
_MAX_INTERVAL: Final = 2.0
"""Seconds. If the service accepts fewer requests, the backoff of each restore does the rest."""
_LAST_ATTEMPT: Final = 0.1
"""Seconds before the deadline at which a restore no longer waits for its turn."""


class Limits(NamedTuple):
    """What a call has to keep to if it belongs to a restore. By default, nothing."""

    time_left: Callable[[], float] = lambda: math.inf
    """Returns the seconds until the deadline, after which botocore's own retries are not sent."""
    resolves: bool = False
    """Whether they are sent even then: what they resolve is worth more than the time."""
    wait_for_turn: Callable[[], object] = lambda: None
    """Waits before one of botocore's own retries is sent."""
    learn: Callable[[object], None] = lambda _: None
    """Is called with each response."""


UNLIMITED: Final = Limits()


class Stopwatch:
    """A clock in seconds that goes only forward, even if ``time.monotonic`` stands still or is set back.

    `advance_to` counts each wait in full. Otherwise, with a frozen clock, ``timeout`` would never come.
    """

    def __init__(self) -> None:
        """Start at ``time.monotonic``."""
        self._lock: Final = threading.RLock()
        self._reading = self._now = time.monotonic()

    def now(self) -> float:
        """Return the time."""
        with self._lock:
            reading = time.monotonic()
            self._now += max(reading - self._reading, 0.0)
            self._reading = reading
            return self._now

    def advance_to(self, end: float) -> None:
        """Move forward to the end of a wait."""
        with self._lock:
            self._now = max(self.now(), end)


class Throttle:
    """The rate of requests that restores share. It learns from each response what the service allows.

    There is no limit until a request is throttled. From then on each request waits for its turn, and so does
    each of botocore's own retries. A throttled request lowers the rate to a little less than the service has
    accepted, and each accepted one raises it.
    """

    def __init__(self) -> None:
        """Start without a limit."""
        self.clock: Final = Stopwatch()
        self._lock: Final = threading.Lock()
        self._accepted: Final = deque[float](maxlen=_MEASURED[-1])  # when the last ones were
        self._interval = self._next_turn = 0.0
        self._throttled = self._since_throttled = 0

    def learn(self, response: object) -> None:
        """Note whether the service has accepted a request or throttled it."""
        with self._lock:
            now = self.clock.now()
            if read_error(response).cls is ThrottlingError:
                if (number := len(self._accepted)) in _MEASURED:
                    # Not until now: what a service will allow that accepts nothing for a while is not known.
                    measured = (self._accepted[-1] - self._accepted[0]) / (number - 1)
                    self._interval = min(max(self._interval, _SLOW_DOWN * measured), _MAX_INTERVAL)
                self._next_turn = now + self._interval
                self._throttled, self._since_throttled = self._throttled + 1, 0
            else:
                self._accepted.append(now)
                self._since_throttled += 1
                self._interval /= 1.0 + _SPEED_UP * self._since_throttled

    def delays(self, backoff: float, time_left: Callable[[], float]) -> Iterator[float]:
        """Yield the seconds to wait, one after another, until it is the turn of a request.

        Args:
            backoff: seconds to wait first.
            time_left: returns the seconds until the deadline of this restore, beyond which it does not wait.
        """
        if backoff > 0:
            yield backoff
        reserved = None
        # If a request was throttled meanwhile, those that wait line up again, further apart.
        while reserved != self._throttled:
            with self._lock:
                now, reserved = self.clock.now(), self._throttled
                turn, left = max(self._next_turn, now), time_left()
                # A turn after the deadline is not taken, or the turns would run away from now. Instead, the
                # last attempt comes just before the deadline: without it, the restore would send nothing.
                if is_late := turn - now >= left:
                    turn = now + left - _LAST_ATTEMPT
                else:
                    self._next_turn = turn + self._interval
            if turn > now:
                yield turn - now
            if is_late or turn <= now:
                return

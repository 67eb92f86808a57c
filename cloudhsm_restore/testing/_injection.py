"""The faults that are still to come: which request gets which fault. Not thread-safe by itself."""

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from ._faults import Fault


@dataclass(slots=True)
class InjectedFault:
    """A fault for the next ``times`` requests of its operation, or of any operation."""

    fault: Fault
    operation: str | None
    times: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _RandomFaults:
    random: random.Random
    probability: float
    faults: Sequence[Fault]
    seconds: float

    def draw(self) -> InjectedFault | None:
        if self.random.random() >= self.probability:
            return None
        return InjectedFault(self.random.choice(self.faults), None, 1, self.seconds)


class FaultQueue:
    """Injected faults in their order, and random ones for the requests that get none of those."""

    def __init__(self) -> None:
        self.injected: deque[InjectedFault] = deque()
        self._random: _RandomFaults | None = None

    def inject(self, fault: Fault, operation: str | None, times: int, seconds: float) -> None:
        if times > 0:
            self.injected.append(InjectedFault(fault, operation, times, seconds))

    def inject_randomly(self, seed: int, probability: float, faults: Sequence[Fault], seconds: float) -> None:
        self._random = _RandomFaults(random.Random(seed), probability, faults, seconds)

    def clear(self) -> None:
        self.injected.clear()
        self._random = None

    def draw(self, operation: str) -> InjectedFault | None:
        """Take the fault for a request out of the queue."""
        for injected in self.injected:
            # A refused connection never becomes a request.
            if injected.fault is not Fault.CONNECTION_REFUSED and injected.operation in (None, operation):
                injected.times -= 1
                if injected.times == 0:
                    # By identity, because deque.remove would take the first equal one, which can be another.
                    self.injected = deque(each for each in self.injected if each is not injected)
                return injected
        return self._random.draw() if self._random else None

    def draw_stop(self) -> bool:
        """Take a CONNECTION_REFUSED that is next out of the queue. It needs no request to take effect."""
        found = False
        while self.injected and self.injected[0].fault is Fault.CONNECTION_REFUSED:
            self.injected.popleft()
            found = True
        return found

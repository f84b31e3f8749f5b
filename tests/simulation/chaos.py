"""Whether a crash or a fault happens at a point: by the seed, each run with intensities of its own."""

import enum
import functools
import random
from dataclasses import dataclass

from writebuffer.faults import Faults


class Crashed(BaseException):
    """The process at work died at this point. Not an Exception: nothing between here and the driver may handle it."""


class SimulationFailure(AssertionError):
    """Something that must hold does not."""


class Fate(enum.Enum):
    """What becomes of one write to the store or the buffer. LATE: reported as unknown, and done some time later."""

    DONE = "done"
    REFUSED = "refused"
    LOST = "done, answer lost"
    LATE = "late"
    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"


@dataclass(frozen=True, slots=True)
class Intensity:
    """Probabilities, 0..1, at each point. write_fault: shared evenly by refused, lost and late."""

    crash: float
    write_fault: float
    read_fault: float

    @classmethod
    def drawn(cls, rng: random.Random) -> "Intensity":
        return cls(rng.choice((0, 0.003, 0.01, 0.03)), rng.choice((0, 0.1, 0.3, 0.6)), rng.choice((0, 0.02, 0.1)))


@dataclass(frozen=True, slots=True)
class Pace:
    """How likely each is chosen, relative to the others: slow readers fall behind, slow workers have much under way."""

    send: float
    start: float
    poll: float
    persist: float

    @classmethod
    def drawn(cls, rng: random.Random) -> "Pace":
        return cls(rng.choice((0.7, 1.5, 4)), rng.choice((0.2, 2)), rng.choice((0.4, 3)), rng.choice((0.2, 1)))


CALM = Intensity(0, 0, 0)


@functools.cache
def _reading(intensity: Intensity) -> Faults:
    return Faults(disconnected=intensity.read_fault)


class Chaos:
    """Draws from the run's random generator; `intensity` is CALM at quiet points."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.intensity = Intensity.drawn(rng)
        self.pace = Pace.drawn(rng)

    def write(self) -> Fate:
        if self.crashes():
            return self.rng.choice((Fate.CRASH_BEFORE, Fate.CRASH_AFTER))
        if self.rng.random() < self.intensity.write_fault:
            return self.rng.choice((Fate.REFUSED, Fate.LOST, Fate.LATE))
        return Fate.DONE

    def read_fails(self) -> bool:
        return self.rng.random() < self.intensity.read_fault

    def reading(self) -> Faults:
        """What the buffer's readers meet now."""
        return _reading(self.intensity)

    def crashes(self) -> bool:
        return self.rng.random() < self.intensity.crash

    def crash_point(self) -> None:
        """Raises Crashed now and then."""
        if self.crashes():
            raise Crashed

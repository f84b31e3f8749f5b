"""Takes a law through every crash point of a workload, and of the recoveries from it.

At each point: every state that the bounds give is recovered and judged (a power cut), and from it, and from the point
itself with nothing lost and nothing more synced (the process alone was killed), the next life is lived; its own crash
points are judged in the same way. A state that was met before with the same promises is not looked at again.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar

from common.values.errors import PenstockError
from tests.support.crash_disk import CrashDisk
from tests.support.crash_model import Folder
from tests.support.crash_states import Bounds, CrashPoint, digest, outcomes

Known = TypeVar("Known")
Outcome = TypeVar("Outcome")
INSISTING = 7


class LawBroken(AssertionError):
    """A state after a crash that must not be."""


def hold(holds: object, otherwise: str) -> None:
    if not holds:
        raise LawBroken(otherwise)


def insist(call: Callable[[], None]) -> None:
    """Call again after an error, as the product's loops do, INSISTING times at most."""
    for _ in range(INSISTING - 1):
        try:
            return call()
        except (OSError, PenstockError):
            continue
    return call()


class Law(Protocol[Known, Outcome]):
    """What is proven. Any unexpected exception of a method breaks the law."""

    def recover(self, root: Folder) -> Outcome:
        """Start on what a power cut left, and say what is there. Called once for equal states."""
        ...

    def judge(self, outcome: Outcome, known: Known) -> None:
        """Raise LawBroken where a promise is not kept."""
        ...

    def live_on(self, disk: CrashDisk, known: Known) -> Sequence[CrashPoint[Known]]:
        """Start and do something more; the crash points of that."""
        ...

    def mark(self, known: Known) -> Hashable:
        """Equal for promises that make no difference."""
        ...


class Exploration(Generic[Known, Outcome]):
    """Judges states, and counts."""

    def __init__(self, law: Law[Known, Outcome], bounds: Bounds, bounds_in_recovery: Bounds) -> None:
        """bounds: of the states that are built at one point."""
        self.points = self.points_in_recovery = self.judged = 0
        self._law = law
        self._bounds = bounds
        self._bounds_in_recovery = bounds_in_recovery
        self._outcomes: dict[bytes, Outcome] = {}
        self._met: set[tuple[bytes, Hashable]] = set()
        self._lives = 0

    def explore(self, points: Sequence[CrashPoint[Known]], *, one_life_in: int = 1, one_killed_in: int = 1) -> None:
        """Raises LawBroken, naming the point.

        one_life_in: of how many recovered states one is lived on from. one_killed_in: at one of how many points the
        process alone is killed. 0: none.
        """
        for point in points:
            self.points += 1
            for root in self._judge_all(point, self._bounds):
                self._lives += 1
                if one_life_in and self._lives % one_life_in == 0:
                    self._live_on(root, point, "power cut")
            if one_killed_in and point.number % one_killed_in == 0:
                self._live_on(point.image.still_running(), point, "killed")

    def __str__(self) -> str:
        return (
            f"{self.points} crash points and {self.points_in_recovery} within recoveries, "
            f"{len(self._outcomes)} different states recovered, {self.judged} judged"
        )

    def _judge_all(self, point: CrashPoint[Known], bounds: Bounds) -> list[Folder]:
        """The states of a point that were not met before with these promises, built once more."""
        new = []
        for versions in outcomes(point.image, bounds):
            root = point.image.left(versions)
            key = digest(root)
            self.judged += 1
            if (met := (key, self._law.mark(point.known))) in self._met:
                continue
            self._met.add(met)
            try:
                if key not in self._outcomes:
                    self._outcomes[key] = self._law.recover(root)
                self._law.judge(self._outcomes[key], point.known)
            except (PenstockError, OSError, AssertionError) as error:
                where = f"power cut at point {point.number}, before {point.before}"
                raise LawBroken(
                    f"{where}; lost or old: {point.image.lost_or_old(versions)}\n{type(error).__name__}: {error}"
                ) from error
            new.append(point.image.left(versions))
        return new

    def _live_on(self, root: Folder, point: CrashPoint[Known], how: str) -> None:
        try:
            for inner in self._law.live_on(CrashDisk(root), point.known):
                self.points_in_recovery += 1
                self._judge_all(inner, self._bounds_in_recovery)
        except (PenstockError, OSError, AssertionError) as error:
            raise LawBroken(f"{how} at point {point.number}, before {point.before}; starting again: {error}") from error

"""What router and ingester processes have in common for the scheduler."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.simulation.chaos import Crashed


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that may happen now. weight: how likely it is chosen, compared with the others."""

    weight: float
    name: str
    run: Callable[[], None]


class Process:
    """Alive until it crashed or came to its end. All that it had under way is gone then."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_alive = True
        self.ended = ""
        """How it came to its end."""

    def work(self) -> Iterator[Step]:
        """What it does by itself."""
        raise NotImplementedError

    def end(self, how: str) -> None:
        self.is_alive = False
        self.ended = how

    def check_alive(self) -> None:
        if not self.is_alive:
            raise Crashed

"""Crash points and the states a power cut may leave at each, enumerated.

A Recorder takes an Image before every changing operation of a workload, and one at its end: every prefix. An operation
that was under way is covered by the next point, where its effect is among the unsynced. `outcomes` says which states of
an image are built:

- all, where there are at most `Bounds.all_up_to`;
- otherwise all new and all old; each file or folder wholly old among all new, and wholly new among all old; and, as far
  as the bounds ask for it, files and folders wholly new or old in every combination, each single choice at each of its
  versions among all new and among all old (single losses, single survivals), each file torn at every sector from the
  front and from the back, and drawn outcomes of a fixed seed.

Equal states (same names, same bytes) are recognised by `digest`, so that nothing is recovered twice.
"""

import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import xxhash

from tests.support.crash_disk import CrashDisk
from tests.support.crash_model import Choice, Folder, Image, Versions, files

TEMPORARY = "/.tmp/"

Known = TypeVar("Known")


@dataclass(frozen=True)
class CrashPoint(Generic[Known]):
    """The instant before operation `number`. known: what the workload had been promised by then."""

    number: int
    before: str
    image: Image
    known: Known


class Recorder(Generic[Known]):
    """Collects the crash points of what is done on `disk` while it is entered."""

    def __init__(self, disk: CrashDisk, know: Callable[[], Known]) -> None:
        """know: called at each point; it may look at the disk as another process would."""
        self.points: list[CrashPoint[Known]] = []
        self._disk = disk
        self._know = know

    def __enter__(self) -> "Recorder[Known]":
        self._disk.on_change = self.note
        return self

    def __exit__(self, *_: object) -> None:
        self._disk.on_change = lambda what: None
        self.note("the end")

    def note(self, what: str) -> None:
        self.points.append(CrashPoint(len(self.points), what, self._disk.image(), self._know()))


@dataclass(frozen=True)
class Bounds:
    """How many states of one image are built. wholes, drawn: at most that many of that kind."""

    all_up_to: int
    wholes: int = 0
    singles: bool = False
    drawn: int = 0


def outcomes(image: Image, bounds: Bounds) -> Iterator[Versions]:
    """The outcomes of `image` that are looked at, none twice."""
    choices = image.choices
    if math.prod(choice.versions for choice in choices) <= bounds.all_up_to:
        yield from itertools.product(*(range(choice.versions) for choice in choices))
        return
    found = [_things(choices), itertools.islice(_wholes(choices), bounds.wholes)]
    if bounds.singles:
        found += [_singles(choices), _torn(choices)]
    rng = random.Random(4711)
    found.append(image.drawn(rng) for _ in range(bounds.drawn))
    yield from dict.fromkeys(map(tuple, itertools.chain(*found)))


def digest(root: Folder) -> bytes:
    """Equal for trees with the same names and bytes; the store's temporary files are left out: nothing reads them."""
    found = xxhash.xxh3_128()
    for path, content in files(root):
        if TEMPORARY in path:
            continue
        found.update(f"{path}\0{-1 if content is None else len(content.now)}\0".encode())
        found.update(bytes(content.now) if content else b"")
    return found.digest()


def _with(choices: Sequence[Choice], is_new: Callable[[Choice], bool]) -> list[int]:
    return [choice.versions - 1 if is_new(choice) else 0 for choice in choices]


def _things(choices: Sequence[Choice]) -> Iterator[Versions]:
    yield _with(choices, lambda choice: True)
    yield _with(choices, lambda choice: False)
    for thing in sorted({choice.thing for choice in choices}):
        yield _with(choices, lambda choice, thing=thing: choice.thing != thing)
        yield _with(choices, lambda choice, thing=thing: choice.thing == thing)


def _wholes(choices: Sequence[Choice]) -> Iterator[Versions]:
    things = sorted({choice.thing for choice in choices})
    for kept in itertools.product((True, False), repeat=len(things)):
        new = dict(zip(things, kept, strict=True))
        yield _with(choices, lambda choice, new=new: new[choice.thing])


def _singles(choices: Sequence[Choice]) -> Iterator[Versions]:
    newest, oldest = _with(choices, lambda choice: True), _with(choices, lambda choice: False)
    for at, choice in enumerate(choices):
        for version in range(choice.versions):
            for among in (newest, oldest):
                yield [*among[:at], version, *among[at + 1 :]]


def _torn(choices: Sequence[Choice]) -> Iterator[Versions]:
    for thing in sorted({choice.thing for choice in choices}):
        inside = [at for at, choice in enumerate(choices) if choice.thing == thing]
        for cut in range(1, len(inside)):
            for lost in (inside[cut:], inside[:cut]):
                yield [0 if at in lost else choice.versions - 1 for at, choice in enumerate(choices)]

"""An explicit-state check of the manifest: every interleaving of two writers and a trimmer over a model store.

Actors are generators of store calls (common/store/objects.py) that also yield reports of what they believe. A generator
follows from the answers it got, so an actor's state is the list of its answers; states of the whole that were reached
on another way are not explored again, only their schedules counted.

A put has three outcomes: it is done; it is done and the answer lost; it is not done and the answer lost. The lost ones
are bounded in number for each schedule. A crash needs no action of its own: an actor that is never scheduled again has
crashed, and every prefix of every schedule is checked.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from common.catalog.manifest import manifest
from common.catalog.manifest.change import AsOf, Change, Instance, StreamMark
from common.catalog.manifest.state import ManifestState
from common.catalog.paths import manifest_record
from common.store.objects import AlreadyExists, Get, GetAll, MakeDurable, NotFound, PutAll, PutIfAbsent, StoreCall
from common.values.errors import Fenced, PenstockError, Unavailable
from common.values.ids import Epoch, Offset, SequencerId

SEQUENCER = SequencerId(0)
ROWS_PER_COMMIT = 10


@dataclass(frozen=True)
class Claimed:
    """An actor holds this epoch and begins to read at this offset."""

    epoch: int
    replay_offset: int


@dataclass(frozen=True)
class Done:
    """An actor believes that the record with this nonce is committed."""

    nonce: str


@dataclass(frozen=True)
class Trim:
    """Remove the buffer's records below this offset."""

    before: int


Report = Claimed | Done | Trim
Actor = Generator[StoreCall | Report, Any, None]
Commit = Callable[[ManifestState, Change, str], Generator[StoreCall, bytes, ManifestState]]
Store = tuple[tuple[str, bytes], ...]
Answer = bytes | str | tuple[bytes | None, ...]
Answers = tuple[tuple[Answer, ...], ...]


def a_change(state: ManifestState, advance: int, claim: Instance | None = None) -> Change:
    return Change(AsOf(Offset(state.replay_offset + advance), stream=StreamMark("s")), claim=claim)


def writer(name: str, commits: int, commit: Commit = manifest.commit) -> Actor:
    """An ingester's life: load, claim, commit; it goes on, as a zombie does, until it finds itself fenced."""
    while True:
        state = yield from manifest.load(SEQUENCER)
        try:
            state = yield from manifest.claim(state, a_change(state, 0, Instance(name)), f"{name}-claim-{state.number}")
            break
        except (Fenced, Unavailable):
            continue
    yield Claimed(state.epoch, state.replay_offset)
    for number in range(commits):
        nonce = f"{name}-{number}"
        change = a_change(state, ROWS_PER_COMMIT)
        try:
            state = yield from _until_known(state, change, nonce, commit)
        except Fenced:
            return
        yield Done(nonce)


def _until_known(
    state: ManifestState, change: Change, nonce: str, commit: Commit
) -> Generator[StoreCall, bytes, ManifestState]:
    while True:
        try:
            return (yield from commit(state, change, nonce))
        except Unavailable:
            continue


def trimmer(rounds: int) -> Actor:
    """The buffer's owner: reads the committed replay offset, and some time later trims up to it."""
    for _ in range(rounds):
        state = yield from manifest.load(SEQUENCER)
        yield Trim(state.replay_offset)


@dataclass(frozen=True)
class State:
    """store: the objects. answers: each actor's. lost: answers that may still get lost. first_offset: the buffer's."""

    store: Store
    answers: Answers
    lost: int
    first_offset: int


class Broken(AssertionError):
    """An invariant does not hold; the message says which, with the schedule that led there."""


class Explorer:
    """Explores every schedule of `actors`; `states` and `schedules` say how many there were."""

    def __init__(self, actors: Mapping[str, Callable[[], Actor]], lost: int) -> None:
        self._actors = dict(actors)
        self._start = State((), ((),) * len(actors), lost, 0)
        self._pending: dict[tuple[int, tuple[Answer, ...]], tuple[StoreCall | Report | None, frozenset[str]]] = {}
        self._records: dict[bytes, manifest.ManifestRecord] = {}
        self._schedules: dict[State, int] = {}
        self._path: list[str] = []

    @property
    def states(self) -> int:
        return len(self._schedules)

    def explore(self) -> int:
        """The number of complete schedules. Raises Broken."""
        return self._explore(self._start)

    def _explore(self, state: State) -> int:
        known = self._schedules.get(state)
        if known is not None:
            return known
        self._check(state)
        schedules = 0
        for label, after in self._next(state):
            self._path.append(label)
            schedules += self._explore(after)
            self._path.pop()
        self._schedules[state] = schedules or 1
        return schedules or 1

    def _next(self, state: State) -> list[tuple[str, State]]:
        found = []
        for number, name in enumerate(self._actors):
            call, _ = self._at(number, state.answers[number])
            match call:
                case Get(path):
                    answer = dict(state.store).get(path, "absent")
                    found.append((f"{name} reads {_named(path)}", _answered(state, number, answer)))
                case GetAll(paths):
                    objects = dict(state.store)
                    answer = tuple(objects.get(path) for path in paths)
                    found.append((f"{name} reads {_named(paths[0])} and so on", _answered(state, number, answer)))
                case MakeDurable(path):
                    found.append((f"{name} makes {_named(path)} durable", _answered(state, number, b"")))
                case PutAll(((path, data),)):
                    found += [
                        (f"{name} puts {_named(path)} {how}", after)
                        for how, after in _puts(state, number, path, data, replaces=True)
                    ]
                case PutIfAbsent(path, data):
                    found += [
                        (f"{name} puts {_named(path)} {how}", after) for how, after in _puts(state, number, path, data)
                    ]
                case Trim(before):
                    trimmed = replace(state, first_offset=max(state.first_offset, before))
                    found.append((f"{name} trims below {before}", _answered(trimmed, number, b"")))
                case Claimed(epoch, replay_offset):
                    # One that was superseded before it began meets OffsetTrimmed, or is fenced: it stops either way.
                    if replay_offset < state.first_offset and epoch == self._epochs(state)[-1]:
                        raise self._broken(f"{name} begins at {replay_offset}, trimmed up to {state.first_offset}")
                    found.append((f"{name} begins", _answered(state, number, b"")))
        return found

    def _at(self, number: int, answers: tuple[Answer, ...]) -> tuple[StoreCall | Report | None, frozenset[str]]:
        """What the actor does next after these answers, None at its end, and the nonces it reported done."""
        key = number, answers
        if key not in self._pending:
            self._pending[key] = _replayed(list(self._actors.values())[number](), answers)
        return self._pending[key]

    def _check(self, state: State) -> None:
        records = dict(each for each in state.store if _is_record(each[0]))
        paths = list(records)
        if paths != [manifest_record(SEQUENCER, n) for n in range(1, len(paths) + 1)]:  # type: ignore[arg-type]
            raise self._broken(f"numbers are not dense: {paths}")
        records = [self._record(data) for data in records.values()]
        epochs = self._epochs(state)
        if epochs != sorted(epochs):
            raise self._broken(f"an epoch decreases along the numbers: {epochs}")
        claims = [record.epoch for record in records if record.change.claim is not None]
        if claims != [Epoch(n) for n in range(1, len(claims) + 1)]:
            raise self._broken(f"claims have the epochs {claims}")
        offsets = [record.change.as_of.replay_offset for record in records]
        if offsets != sorted(offsets):
            raise self._broken(f"the replay offset goes back: {offsets}")
        nonces = [record.nonce for record in records]
        if len(set(nonces)) != len(nonces):
            raise self._broken(f"a record occurs twice: {nonces}")
        for number in range(len(self._actors)):
            missing = self._at(number, state.answers[number])[1] - set(nonces)
            if missing:
                raise self._broken(f"{missing} was reported done and is not there")
        if state.first_offset > max(offsets, default=0):
            raise self._broken(f"trimmed up to {state.first_offset}, durable is {max(offsets, default=0)}")

    def _epochs(self, state: State) -> list[Epoch]:
        return [self._record(data).epoch for path, data in state.store if _is_record(path)]

    def _record(self, data: bytes) -> manifest.ManifestRecord:
        if data not in self._records:
            self._records[data] = manifest.decode(data, "model")
        return self._records[data]

    def _broken(self, what: str) -> Broken:
        return Broken(f"{what}\nafter:\n  " + "\n  ".join(self._path))


def _is_record(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return folder == f"manifest/{SEQUENCER:03}" and name != "hint.json"


def _named(path: str) -> str:
    return path.removeprefix(f"manifest/{SEQUENCER:03}/").removesuffix(".json").replace("0" * 19, "")


def _puts(state: State, number: int, path: str, data: bytes, *, replaces: bool = False) -> list[tuple[str, State]]:
    """Every outcome of a put."""
    if path in dict(state.store) and not replaces:
        outcomes = [("already exists", _answered(state, number, "exists"))]
        done = state
    else:
        done = replace(state, store=tuple(sorted({**dict(state.store), path: data}.items())))
        outcomes = [("", _answered(done, number, b""))]
    if state.lost:
        outcomes.append(("not done, unknown", _answered(replace(state, lost=state.lost - 1), number, "unknown")))
        if done is not state:
            outcomes.append(("done, unknown", _answered(replace(done, lost=state.lost - 1), number, "unknown")))
    return outcomes


def _answered(state: State, number: int, answer: Answer) -> State:
    answers = list(state.answers)
    answers[number] = (*answers[number], answer)
    return replace(state, answers=tuple(answers))


_ERRORS: dict[str, Callable[[], PenstockError]] = {
    "absent": lambda: NotFound("absent"),
    "exists": lambda: AlreadyExists("exists"),
    "unknown": lambda: Unavailable("unknown", written="unknown"),
}


def _replayed(actor: Actor, answers: tuple[Answer, ...]) -> tuple[StoreCall | Report | None, frozenset[str]]:
    reported: set[str] = set()
    try:
        call = _noted(actor, next(actor), reported)
        for answer in answers:
            call = actor.throw(_ERRORS[answer]()) if isinstance(answer, str) else actor.send(answer)
            call = _noted(actor, call, reported)
    except StopIteration:
        return None, frozenset(reported)
    return call, frozenset(reported)


def _noted(actor: Actor, call: StoreCall | Report, reported: set[str]) -> StoreCall | Report:
    """Note what is reported done: nobody else sees it, so it needs no place in the schedule."""
    while isinstance(call, Done):
        reported.add(call.nonce)
        call = actor.send(b"")
    return call

"""The state of each sequencer: what is in the log, what is applied, what is persisted.

Three sources, each of which may be missing: the write buffer (first and next offset, and whether its stream is still
the one that was followed), the sequencer's manifest in the store (persisted, files, epoch, address), and the ingester
itself (state, applied, rows buffered). An ingester that does not answer is `down`; one whose manifest is damaged is
`corrupt`, one whose stream is another `forked`. What no source could say is unknown, shown as `-`.
"""

import http.client
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from common.catalog.manifest import manifest
from common.catalog.manifest.state import ManifestState
from common.store.objects import ObjectStore, run
from common.values.addresses import Address
from common.values.errors import DataCorrupt, Forked, InvalidRequest, PenstockError, Unavailable
from common.values.ids import SequencerId
from writebuffer.contract import Backend, Offsets, Reader
from writebuffer.same_stream import difference, find_stream

DOWN = "down"
CORRUPT = "corrupt"
FORKED = "forked"
REPLAYING = "replaying"
WAITING = "waiting"
"""The state that an ingester reports while the write buffer or the store is away."""
_TIMEOUT_S = 2.0
_PARALLEL = 16


@dataclass(frozen=True, slots=True)
class SequencerStatus:
    """One line. persisted: the replay offset. lag: records from applied to next. None where it is unknown.

    rows_duplicate: rows of records that were in the stream before, since its start; where the ingester does not answer,
    only of those below `persisted`. ready_in_s: about how long an ingester that replays will take.
    """

    sequencer: int
    state: str
    epoch: int | None
    first: int | None
    persisted: int | None
    applied: int | None
    next: int | None
    lag: int | None
    rows_buffered: int | None
    rows_duplicate: int | None
    files: int | None
    ready_in_s: float | None


def gather(
    store: ObjectStore,
    sequencers: int,
    backend: Backend,
    on_corrupt: Callable[[DataCorrupt], None],
    on_problem: Callable[[PenstockError], None] = lambda error: None,
) -> list[SequencerStatus]:
    """One status for each of 0..sequencers-1. Raises Unavailable when the store cannot be read.

    on_corrupt: called for each manifest that is not what was written. on_problem: for everything else that keeps a
    sequencer from being live, as far as its reason is known. Both may be called from several threads.
    """
    known = [SequencerId(number) for number in range(sequencers)]
    with ExitStack() as stack:
        reader = _opened(backend, on_problem)
        if reader is not None:
            stack.callback(reader.close)
        sources = _Sources(store, reader, on_corrupt, on_problem)
        pool = stack.enter_context(ThreadPoolExecutor(_PARALLEL))
        return list(pool.map(sources.status, known))


def merge(state: ManifestState, offsets: Offsets | None, answer: dict[str, Any] | None) -> SequencerStatus:
    """answer: of the ingester's /status; one of another sequencer (its port was reused) counts as none."""
    if answer is not None and answer.get("sequencer") != state.sequencer:
        answer = None
    said = answer or {}
    applied = said.get("applied_offset")
    next_offset = offsets.next_offset if offsets else None
    if next_offset is None and said.get("state") != WAITING:  # what it saw before the outage is no longer the end
        next_offset = said.get("next_offset")
    return SequencerStatus(
        sequencer=state.sequencer,
        state=said.get("state", DOWN),
        epoch=state.epoch,
        first=offsets.first_offset if offsets else None,
        persisted=state.replay_offset,
        applied=applied,
        next=next_offset,
        lag=max(0, next_offset - applied) if next_offset is not None and applied is not None else None,
        rows_buffered=said.get("rows_buffered"),
        rows_duplicate=said.get("accounts", {}).get("duplicate", state.accounts.duplicate),
        files=len(state.files),
        ready_in_s=said.get("ready_in_s"),
    )


def to_json(statuses: Iterable[SequencerStatus]) -> str:
    return json.dumps([asdict(status) for status in statuses])


def table(statuses: Sequence[SequencerStatus]) -> str:
    """Aligned columns under a heading; text to the left, numbers to the right."""
    names = [spec.name for spec in fields(SequencerStatus) if spec.name != "ready_in_s"]
    rows = [[_cell(getattr(status, name)) for name in names] for status in statuses]
    heading = [name.replace("_", " ") for name in names]
    widths = [max(map(len, column)) for column in zip(heading, *rows, strict=True)]
    lines = [
        "  ".join(
            f"{cell:<{width}}" if name == "state" else f"{cell:>{width}}"
            for name, cell, width in zip(names, row, widths, strict=True)
        )
        for row in [heading, *rows]
    ]
    return "\n".join(lines)


def waits(statuses: Iterable[SequencerStatus]) -> list[str]:
    """A line for each sequencer whose queries wait for records from before its ingester's start."""
    return [
        f"sequencer {one.sequencer} replays{_for_how_long(one)} before it answers queries"
        for one in statuses
        if one.state == REPLAYING
    ]


def _for_how_long(one: SequencerStatus) -> str:
    return "" if one.ready_in_s is None else f" for about {one.ready_in_s:,.0f} s more"


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


class _Sources:
    """What is asked about a sequencer. reader: None where the buffer cannot be read."""

    def __init__(
        self,
        store: ObjectStore,
        reader: Reader | None,
        on_corrupt: Callable[[DataCorrupt], None],
        on_problem: Callable[[PenstockError], None],
    ) -> None:
        self._store = store
        self._reader = reader
        self._on_corrupt = on_corrupt
        self._on_problem = on_problem

    def status(self, sequencer: SequencerId) -> SequencerStatus:
        offsets = self._offsets(sequencer)
        try:
            state = run(manifest.load(sequencer, on_damaged=self._on_problem), self._store)
        except DataCorrupt as error:
            self._on_corrupt(error)
            return _corrupt(sequencer, offsets)
        answer = ask(state.http_address)
        if answer and (reason := answer.get("waiting_for")):
            self._on_problem(Unavailable(str(reason)))
        found = merge(state, offsets, answer)
        return replace(found, state=FORKED) if self._is_forked(state) else found

    def _offsets(self, sequencer: SequencerId) -> Offsets | None:
        try:
            return self._reader.offsets(sequencer) if self._reader else None
        except (Unavailable, InvalidRequest) as error:
            self._on_problem(error)
            return None

    def _is_forked(self, state: ManifestState) -> bool:
        """Whether the buffer has another stream than the one that was followed."""
        if self._reader is None or not state.as_of.stream.identity:
            return False
        followed, sequencer, next_offset = state.as_of.stream, state.sequencer, state.replay_offset
        try:
            found = find_stream(self._reader, sequencer, followed, next_offset)
        except (Unavailable, InvalidRequest):
            return False  # the offsets say so already, or nobody can know
        if different := difference(followed, next_offset, found):
            self._on_problem(Forked(f"sequencer {sequencer}: the write buffer has another stream: {different}"))
        return different is not None


def _corrupt(sequencer: SequencerId, offsets: Offsets | None) -> SequencerStatus:
    """Without a manifest: the log alone, because the ingester's address is in the manifest."""
    return SequencerStatus(
        sequencer=sequencer,
        state=CORRUPT,
        epoch=None,
        first=offsets.first_offset if offsets else None,
        persisted=None,
        applied=None,
        next=offsets.next_offset if offsets else None,
        lag=None,
        rows_buffered=None,
        rows_duplicate=None,
        files=None,
        ready_in_s=None,
    )


def _opened(backend: Backend, on_problem: Callable[[PenstockError], None]) -> Reader | None:
    try:
        return backend.open_reader()
    except (Unavailable, InvalidRequest) as error:
        on_problem(error)
        return None


def ask(address: str) -> dict[str, Any] | None:
    """The answer of http://address/status; None when there is none."""
    try:
        place = Address.parse(address)
    except ValueError:
        return None
    connection = http.client.HTTPConnection(place.host, place.port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/status")
        response = connection.getresponse()
        answer = json.loads(response.read()) if response.status == http.client.OK else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return answer if isinstance(answer, dict) else None

"""Where each sequencer stands: what the log holds, what is applied, what is persisted.

Three sources, each of which may be missing: the write buffer (first and next offset), the sequencer's manifest in the
store (persisted, files, epoch, address), and the ingester itself (state, applied, rows buffered). An ingester that does
not answer is `down`; one whose manifest is damaged is `corrupt`. What nobody could say is unknown, shown as `-`.
"""

import http.client
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from typing import Any

from common.errors import DataCorrupt, InvalidRequest, Unavailable
from common.ids import SequencerId
from common.objectstore import ObjectStore, run
from ingester.persist import manifest
from ingester.persist.manifest_state import ManifestState
from writebuffer.contract import Backend, Offsets, Reader

DOWN = "down"
CORRUPT = "corrupt"
WAITING = "waiting"
"""An ingester's own word for: the write buffer is away."""
_TIMEOUT_S = 2.0
_PARALLEL = 16


@dataclass(frozen=True, slots=True)
class SequencerStatus:
    """One line. persisted: the replay offset. lag: records from applied to next. None where nobody says.

    rows_duplicate: of records that stood in the stream before, all time; of those below persisted where only the
    manifest says.
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


def gather(
    store: ObjectStore, sequencers: int, backend: Backend, on_corrupt: Callable[[DataCorrupt], None]
) -> list[SequencerStatus]:
    """One status for each of 0..sequencers-1. Raises Unavailable when the store cannot be read.

    on_corrupt: told of each manifest that is not what was written.
    """
    known = [SequencerId(number) for number in range(sequencers)]
    with ExitStack() as stack:
        reader = _reader(backend)
        if reader is not None:
            stack.callback(reader.close)
        pool = stack.enter_context(ThreadPoolExecutor(_PARALLEL))
        return list(pool.map(lambda sequencer: _one(sequencer, store, reader, on_corrupt), known))


def merge(state: ManifestState, offsets: Offsets | None, answer: dict[str, Any] | None) -> SequencerStatus:
    """answer: of the ingester's /status; one of another sequencer (its port was reused) counts as none."""
    if answer is not None and answer.get("sequencer") != state.sequencer:
        answer = None
    said = answer or {}
    applied = said.get("applied_offset")
    next_offset = offsets.next_offset if offsets else None
    if next_offset is None and said.get("state") != WAITING:  # what it saw before the outage is not the end any more
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
    )


def to_json(statuses: Iterable[SequencerStatus]) -> str:
    return json.dumps([asdict(status) for status in statuses])


def table(statuses: Sequence[SequencerStatus]) -> str:
    """Aligned columns under a heading; text to the left, numbers to the right."""
    names = [spec.name for spec in fields(SequencerStatus)]
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


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


def _one(
    sequencer: SequencerId, store: ObjectStore, reader: Reader | None, on_corrupt: Callable[[DataCorrupt], None]
) -> SequencerStatus:
    offsets = _offsets(reader, sequencer)
    try:
        state = run(manifest.load(sequencer), store)
    except DataCorrupt as error:
        on_corrupt(error)
        return _corrupt(sequencer, offsets)
    return merge(state, offsets, _ask(state.http_address))


def _corrupt(sequencer: SequencerId, offsets: Offsets | None) -> SequencerStatus:
    """What the log alone says: the ingester's address stands in the manifest."""
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
    )


def _reader(backend: Backend) -> Reader | None:
    try:
        return backend.open_reader()
    except (Unavailable, InvalidRequest):
        return None


def _offsets(reader: Reader | None, sequencer: SequencerId) -> Offsets | None:
    try:
        return reader.offsets(sequencer) if reader else None
    except (Unavailable, InvalidRequest):
        return None


def _ask(address: str) -> dict[str, Any] | None:
    """The answer of http://address/status; None when there is none."""
    if not address:
        return None
    connection = http.client.HTTPConnection(address, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/status")
        response = connection.getresponse()
        answer = json.loads(response.read()) if response.status == http.client.OK else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return answer if isinstance(answer, dict) else None

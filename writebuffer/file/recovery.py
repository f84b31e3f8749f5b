"""Opening a log for writing: find the proven durable end, and make what lies above it count or lie.

Nothing is appended to a file that exists, and nothing is cut but the zeros of reserved space. Valid batches above the
proven durable end are written again into a new segment and synced before they count: after an I/O error Linux marks
pages clean, so what is read here may be in the page cache alone. That segment gets its name only once it is whole and
synced; were its header to count earlier, a crash would pass over the batches that it replaces.

What is proven was synced by who wrote it. The newest segment and the folder are synced all the same: they may be a copy
that was put there a moment ago, and what is acknowledged next follows on them. Older segments are not, for there may be
hundreds: who restores a copy syncs it.
"""

from dataclasses import dataclass

from common.logs import Logger
from common.values.clock import Clock
from common.values.errors import DataCorrupt
from common.values.ids import Epoch, Offset
from writebuffer.errors import SALVAGE
from writebuffer.file.format import (
    HEADER_BYTES,
    NO_EPOCH,
    UNFINISHED,
    Body,
    ChainEnd,
    Place,
    SegmentHeader,
)
from writebuffer.file.horizon import read_horizon
from writebuffer.file.segment import OpenSegment
from writebuffer.file.segments import Segments
from writebuffer.file.walk import Walk, named_far_ahead, prove

_ZEROS_BLOCK = 2**20


@dataclass(frozen=True, slots=True)
class Recovered:
    """end: where the next record goes. epoch: the new writer's. first_offset: the oldest still readable."""

    end: ChainEnd
    epoch: Epoch
    first_offset: Offset


@dataclass(frozen=True, slots=True)
class _Found:
    """proven: where the proven part ends. unproven: the valid batches above it."""

    proven: ChainEnd
    unproven: list[Body]


def recover(place: Place, clock: Clock, logger: Logger) -> Recovered:
    """Raises DataCorrupt when a batch below the durable end is bad, Forked when a segment does not follow, OSError.

    Nothing was changed then.
    """
    place.disk.make_folder(place.folder)
    segments = Segments(place)
    segments.refresh()
    horizon = read_horizon(place)
    proof = prove(place, segments)
    durable_end = max(horizon.durable_end if horizon else Offset(0), proof.durable_end)
    found = _walk(place, segments, durable_end, logger)
    epochs = [name.epoch for name in segments.names] + [horizon.segment.epoch if horizon else NO_EPOCH]
    epoch = Epoch(max(epochs) + 1)
    _remove_unfinished(place)
    end = _write_again(place, found, epoch, clock) if found.unproven else found.proven
    return Recovered(end, epoch, segments.first_offset)


def _walk(place: Place, segments: Segments, durable_end: Offset, logger: Logger) -> _Found:
    """Walk the last two segments. Older ones were synced and followed on long ago; readers check them as they go, and
    the segment before the one they enter by a seek.
    """
    start = segments.newest(back=1)
    if start is None:
        where = "there is no segment" + named_far_ahead(segments, durable_end)
        _check_reached(place, ChainEnd(Offset(0), 0), durable_end, where)
        return _Found(ChainEnd(Offset(0), 0), [])
    walk = Walk(place, segments, start)
    try:
        found = _split(walk, durable_end)
        where = f"{walk.segment.name} at byte {walk.at_byte}: {walk.fault}"
        where += named_far_ahead(segments, durable_end)
        _check_reached(place, found.proven, durable_end, where)
        _finish_newest(place, segments, walk, logger)
    finally:
        walk.close()
    return found


def _split(walk: Walk, durable_end: Offset) -> _Found:
    proven = walk.end
    unproven = []
    while (header := walk.peek()) and (body := walk.body()) is not None:
        walk.advance()
        if header.base_offset >= durable_end:
            unproven.append(Body.read(header, bytes(body)))
        else:
            proven = header.end
    return _Found(proven, unproven)


def _check_reached(place: Place, proven: ChainEnd, durable_end: Offset, where: str) -> None:
    if proven.offset != durable_end:
        raise DataCorrupt(
            f"{place}: offsets below {durable_end} were durable, but the log reads only up to {proven.offset}: "
            f"{where}. Nothing was cut; restore the folder from a copy (an empty one in its place would be refused). "
            f"Without one: {SALVAGE}",
            sequencer=place.sequencer,
            durable_end=durable_end,
            readable_end=proven.offset,
        )


def _finish_newest(place: Place, segments: Segments, walk: Walk, logger: Logger) -> None:
    """Sync the newest segment and the folder, give back its reserved space, and report what is passed over in it."""
    newest = segments.names[-1]
    used = walk.at_byte if walk.segment.name == newest else 0
    file = place.disk.open(place.path(str(newest)), write=True)
    try:
        size = file.size()
        while size > used:
            start = max(used, size - _ZEROS_BLOCK)
            kept = len(file.read_at(start, size - start).rstrip(b"\0"))
            size = start + kept
            if kept:
                break
        if size < file.size():
            file.truncate(size)
        file.sync_data()
    finally:
        file.close()
    place.disk.sync_folder(place.folder)
    if size > used:
        logger.warning(
            "bytes passed over at the end of the log; they are kept until trimmed",
            place=str(place),
            segment=str(newest),
            from_byte=used,
            bytes=size - used,
            reason=walk.fault,
        )


def _remove_unfinished(place: Place) -> None:
    for name in place.disk.names(place.folder):
        if name.endswith(UNFINISHED):
            place.disk.remove(place.path(name))


def _write_again(place: Place, found: _Found, epoch: Epoch, clock: Clock) -> ChainEnd:
    header = SegmentHeader.make(place.log_id, found.proven, epoch, clock.now_ns() // 1_000_000)
    length = HEADER_BYTES + sum(HEADER_BYTES + len(body.data) for body in found.unproven)
    segment = OpenSegment(place, header, length, unfinished=True)
    end = found.proven
    for body in found.unproven:
        end = segment.write(end.offset, body, end.offset - found.proven.offset)
    segment.finish()
    segment.seal()
    return end

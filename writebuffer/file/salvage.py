"""A damaged or lost log made whole again, with every record that can be read at the offset it has.

A person's decision: what was in it and can neither be read nor was persisted is given up. Nothing is deleted: the old
folder is kept beside the new one. The new log is whole before it gets its name, so that a crash leaves the old one,
none, or the new one, and the same call again does the rest.

    <root>/001                      the new log: segments of readable records, segments that say which offsets are lost
                                    in between, and one without records, whose name says where the log goes on
    <root>/001.lost-20260102T030405 the folder that was there

The log goes on above every offset that it ever gave: a record at an offset that was used before would count as durable
already where the manifests cover that one, and its rows would be lost. Where nothing says how far it went, MARGIN
offsets are left out.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath

from common.catalog.manifest.change import StreamMark
from common.store.disk import Disk
from common.values.clock import Clock
from common.values.ids import Epoch, Offset
from writebuffer.contract import Stretch
from writebuffer.file.format import (
    HEADER_BYTES,
    HORIZON_BYTES,
    NO_EPOCH,
    Body,
    ChainEnd,
    Horizon,
    Place,
    SegmentHeader,
    SegmentName,
)
from writebuffer.file.horizon import HORIZON, read_horizon
from writebuffer.file.segment import OpenSegment
from writebuffer.file.segments import Segments
from writebuffer.file.verify import Content, Problem, Readable, Verification

MARGIN = 1_000_000_000
"""Offsets left out where the log's end is not known: far more than are ever written between two persists."""

_LOST = ".lost-"
_NEW = ".new"
_NO_END = Offset(2**62)
_LOST_COUNT_MAX = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Known:
    """What the store and the registered consumers know of a stream.

    replay_offset: everything below it is persisted. needed_from: no consumer needs a record below it. above_all: above
    every offset that any of them mentions.
    """

    mark: StreamMark
    replay_offset: Offset
    needed_from: Offset
    above_all: Offset


@dataclass(frozen=True, slots=True)
class Remains:
    """What is left of a log.

    readable: in order; none of them where `another` says why it is not the log that was followed. given_up: what was
    lost before, and an earlier salvage says so. problems: what is wrong in it, below `end`. first_offset: the oldest it
    had, or has to have. reaches: its end by its own word. end: above every offset that is known to be given.
    next_offset: where it goes on once it is salvaged: `end`, or MARGIN above. exists: whether its folder does.
    """

    first_offset: Offset
    readable: Sequence[Stretch]
    given_up: Sequence[Stretch]
    problems: Sequence[Problem]
    reaches: Offset
    end: Offset
    next_offset: Offset
    exists: bool = True
    another: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether there is nothing to salvage: a router and an ingester go on with it as it is."""
        return self.exists and not self.problems and not self.another and self.reaches == self.end

    @property
    def lost(self) -> list[Stretch]:
        """What cannot be read between first_offset and end, in order."""
        found, at = [], self.first_offset
        for stretch in self.readable:
            if stretch.first_offset > at:
                found.append(Stretch(at, stretch.first_offset))
            at = stretch.next_offset
        return [*found, Stretch(at, self.end)] if at < self.end else found


@dataclass(frozen=True, slots=True)
class Salvaged:
    """kept: the records that the new log has, in order. kept_in: the folder with the old files, "" where none was."""

    remains: Remains
    kept: Sequence[Stretch]
    kept_in: str


def examine(place: Place, known: Known) -> Remains:
    """Read all of the log; nothing is locked, made or changed. Raises Forked, OSError."""
    source = _source(place)
    horizon = read_horizon(source)
    readable: list[Stretch] = []
    given_up: list[Stretch] = []
    problems: list[Problem] = []
    another = ""
    for found in _contents(source, horizon):
        if isinstance(found, Problem):
            problems.append(found)
        elif isinstance(found, Readable):
            another = another or _difference(found, known.mark)
            _extend(readable, Stretch(found.first_offset, found.next_offset))
        else:
            given_up.append(found)
    reaches = max([_given(place.disk, source.folder).end, *(stretch.next_offset for stretch in readable)])
    end = max([known.above_all, reaches, *(_given(place.disk, folder).end for folder in _folders(place))])
    end_is_known = horizon is not None and end <= max([horizon.durable_end, *(each.next_offset for each in readable)])
    return Remains(
        first_offset=min(_first_offset(source, horizon), known.replay_offset) if not another else known.replay_offset,
        readable=[] if another else readable,
        given_up=given_up,
        reaches=reaches,
        problems=[_clipped(problem, end) for problem in problems if problem.first_offset < end],
        end=end,
        next_offset=end if end_is_known else Offset(end + MARGIN),
        exists=place.disk.stat(place.folder) is not None,
        another=another,
    )


def salvage(place: Place, known: Known, segment_bytes: int, clock: Clock) -> Salvaged:
    """Whoever calls holds the log's lock. A log that is whole stays as it is. Raises Forked, OSError."""
    if _source(place) != place:  # of a salvage that was interrupted, complete
        _name(place)
    remains = examine(place, known)
    if remains.is_whole:
        return Salvaged(remains, remains.readable, "")
    epoch = Epoch(1 + max((_given(place.disk, folder).epoch for folder in _folders(place)), default=0))
    new = Place(place.disk, place.folder + _NEW, place.log_id, place.sequencer)
    _remove(new)
    place.disk.make_folder(new.folder)
    chain = _Chain(new, epoch, segment_bytes, clock.now_ns() // 1_000_000)
    if not remains.another:
        for found in _contents(place, read_horizon(place)):
            if isinstance(found, Readable) and found.next_offset > known.needed_from:
                chain.add(found)
    chain.finish(remains.next_offset)
    kept_in = _set_aside(place, clock)
    _name(place)
    return Salvaged(remains, chain.kept, kept_in)


def _contents(place: Place, horizon: Horizon | None) -> Iterator[Content]:
    """Also above the durable end: what is whole there may have been acknowledged."""
    first = _first_offset(place, horizon)
    if first == _NO_END:
        return iter(())
    return Verification(place).contents(Horizon(place.log_id, first, _NO_END, SegmentName(first, NO_EPOCH), 0))


def _first_offset(place: Place, horizon: Horizon | None) -> Offset:
    """_NO_END where nothing says it."""
    if horizon:
        return horizon.first_offset
    return min((name.base_offset for name in _names(place.disk, place.folder)), default=_NO_END)


def _difference(found: Readable, mark: StreamMark) -> str:
    """Why the records are not those that were followed; "" where they may be."""
    if mark.last_offset is None or not found.first_offset <= mark.last_offset < found.next_offset:
        return ""
    if found.record(mark.last_offset).checksum() == mark.last_checksum:
        return ""
    return f"the record at {mark.last_offset} is another one than was read there"


def _extend(stretches: list[Stretch], more: Stretch) -> None:
    if stretches and stretches[-1].next_offset == more.first_offset:
        more = Stretch(stretches.pop().first_offset, more.next_offset)
    stretches.append(more)


def _clipped(problem: Problem, end: Offset) -> Problem:
    return replace(problem, next_offset=min(problem.next_offset, end))


@dataclass(slots=True)
class _Chain:
    """Writes a log: its records, and between them what is lost."""

    place: Place
    epoch: Epoch
    segment_bytes: int
    created_ms: int
    kept: list[Stretch] = field(default_factory=list)
    _end: ChainEnd | None = None
    _segment: OpenSegment | None = None

    def add(self, found: Readable) -> None:
        end = self._gone_to(found.first_offset)
        if self._segment is None or not self._segment.has_room(found.body):
            self._close()
            self._segment = self._open(end, max(self.segment_bytes, 2 * HEADER_BYTES + len(found.body.data)))
        self._end = self._segment.write(found.first_offset, found.body, 0)
        _extend(self.kept, Stretch(found.first_offset, found.next_offset))

    def finish(self, next_offset: Offset) -> None:
        """The newest segment proves that all below is durable, and that the log is complete."""
        end = self._gone_to(next_offset)
        self._close()
        self._segment = self._open(end, HEADER_BYTES)
        self._close()

    def _gone_to(self, offset: Offset) -> ChainEnd:
        """Where the log ends once everything up to `offset` is there or lost; it begins at the first one asked for."""
        end = self._end or ChainEnd(offset, 0)
        if end.offset < offset:
            self._close()
            self._segment = self._open(end, 2 * HEADER_BYTES)
            while end.offset < offset:
                lost = min(offset - end.offset, _LOST_COUNT_MAX)
                end = self._segment.write(end.offset, Body.lost(lost), 0)
            self._close()
        self._end = end
        return end

    def _open(self, at: ChainEnd, length: int) -> OpenSegment:
        header = SegmentHeader.make(self.place.log_id, at, self.epoch, self.created_ms)
        return OpenSegment(self.place, header, length, unfinished=True)

    def _close(self) -> None:
        if self._segment:
            self._segment.finish()
            self._segment.seal()
            self._segment = None


def _source(place: Place) -> Place:
    """Where the records are: in the log's folder, or in the new one where a salvage stopped right before its name.

    That one is complete when its newest segment, the last to be made, has no batch.
    """
    if place.disk.stat(place.folder):
        return place
    new = Place(place.disk, place.folder + _NEW, place.log_id, place.sequencer)
    segments = Segments(new)
    segments.refresh()
    newest = segments.newest()
    if newest is None:
        return place
    file = new.disk.open(new.path(str(newest.name)))
    try:
        return new if file.size() == HEADER_BYTES else place
    finally:
        file.close()


def _name(place: Place) -> None:
    """Give the new folder the log's name."""
    above = str(PurePosixPath(place.folder).parent)
    place.disk.sync_folder(above)
    place.disk.rename(place.folder + _NEW, place.folder)
    place.disk.sync_folder(above)


def _set_aside(place: Place, clock: Clock) -> str:
    if place.disk.stat(place.folder) is None:
        return ""
    at = datetime.fromtimestamp(clock.now_ns() / 1e9, UTC)
    kept_in = f"{place.folder}{_LOST}{at:%Y%m%dT%H%M%S%f}"
    place.disk.rename(place.folder, kept_in)
    return kept_in


@dataclass(frozen=True, slots=True)
class _Given:
    """What a folder shows. end: above every offset that the log gave, as far as known. epoch: its newest writer's."""

    end: Offset
    epoch: Epoch


def _folders(place: Place) -> list[str]:
    """The log's folder, what an interrupted salvage left, and those that were set aside before."""
    root, _, name = place.folder.rpartition("/")
    with suppress(FileNotFoundError):
        names = [one for one in place.disk.names(root) if one in (name, name + _NEW) or one.startswith(name + _LOST)]
        return [f"{root}/{one}" for one in names]
    return []


def _given(disk: Disk, folder: str) -> _Given:
    """By names and horizon: every offset below a segment's base was given, and so was all that readers may return."""
    names = _names(disk, folder)
    end = max((name.base_offset for name in names), default=Offset(0))
    epoch = max((name.epoch for name in names), default=Epoch(0))
    horizon = _horizon(disk, folder)
    if horizon:
        end, epoch = max(end, horizon.durable_end), max(epoch, horizon.segment.epoch)
    return _Given(end, epoch)


def _names(disk: Disk, folder: str) -> list[SegmentName]:
    with suppress(FileNotFoundError):
        return [found for name in disk.names(folder) if (found := SegmentName.parse(name))]
    return []


def _horizon(disk: Disk, folder: str) -> Horizon | None:
    try:
        file = disk.open(f"{folder}/{HORIZON}")
    except FileNotFoundError:
        return None
    try:
        return Horizon.parse(file.read_at(0, HORIZON_BYTES))
    finally:
        file.close()


def _remove(place: Place) -> None:
    """The files of an interrupted salvage that was not complete: all they hold is in the log's folder."""
    with suppress(FileNotFoundError):
        for name in place.disk.names(place.folder):
            place.disk.remove(place.path(name))

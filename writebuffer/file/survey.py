"""What is in a log's folder, found without opening it for writing: nothing is locked, made or changed.

A log that is being written meanwhile is shown as of one moment's horizon.
"""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.store.disk import DiskFile
from common.values.errors import DataCorrupt, Forked
from common.values.ids import Offset, SequencerId
from writebuffer.file.format import NO_EPOCH, UNFINISHED, Horizon, Place, SegmentHeader, SegmentName
from writebuffer.file.horizon import current_horizon, read_horizon
from writebuffer.file.index import index_name, read_index, walk_near
from writebuffer.file.segments import Segments

_BLOCK_BYTES = 2**20
_LOCKS = Path("/proc/locks")


@dataclass(frozen=True, slots=True)
class SegmentSurvey:
    """One segment file.

    next_offset: where its batches that count end; None where it has none. passed_over_bytes: what comes after them.
    index: whole | damaged | missing. state: open (being written) | sealed | left open (its writer was killed) |
    replaced (another one with its first offset counts) | damaged (no valid header) | unfinished (does not count yet).
    """

    name: str
    first_offset: Offset
    next_offset: Offset | None
    epoch: int
    data_bytes: int
    disk_bytes: int
    passed_over_bytes: int
    index: str
    state: str


@dataclass(frozen=True, slots=True)
class Holder:
    """Who took the lock last, by its own word. held: whether it still does, as far as can be seen from here."""

    pid: str
    host: str
    since: str
    held: bool


@dataclass(frozen=True, slots=True)
class LogSurvey:
    """One sequencer's log. horizon: whole | damaged | missing. damage: what is wrong with its segments, if anything."""

    sequencer: SequencerId
    identity: str
    first_offset: Offset
    next_offset: Offset
    horizon: str
    holder: Holder | None
    segments: list[SegmentSurvey]
    damage: list[str]


def survey(place: Place) -> LogSurvey:
    """Reads headers, a few of each segment that has an index. Raises Forked, OSError."""
    holder = _holder(place)
    damage: list[str] = []
    try:
        horizon = current_horizon(place)
    except DataCorrupt as error:
        damage.append(str(error))
        horizon = Horizon(place.log_id, Offset(0), Offset(0), SegmentName(Offset(0), NO_EPOCH), 0)
    segments = Segments(place)
    segments.refresh()
    being_written = horizon.segment if holder and holder.held else None
    found = _Folder(place, segments, horizon, being_written, damage).segments()
    offsets = (horizon.first_offset, horizon.durable_end)
    return LogSurvey(place.sequencer, place.log_id.hex(), *offsets, _horizon_state(place), holder, found, damage)


class _Folder:
    """Says of each segment file what it is."""

    def __init__(
        self,
        place: Place,
        segments: Segments,
        horizon: Horizon,
        being_written: SegmentName | None,
        damage: list[str],
    ) -> None:
        self._place = place
        self._segments = segments
        self._horizon = horizon
        self._being_written = being_written
        self._damage = damage
        counting = segments.counting()
        self._counting = {header.name: header for header in counting}
        ends = [*(header.base_offset for header in counting[1:]), horizon.durable_end]
        self._ends = {header.name: end for header, end in zip(counting, ends, strict=False)}

    def segments(self) -> list[SegmentSurvey]:
        found = []
        for name in self._segments.names:
            with suppress(FileNotFoundError):  # trimmed meanwhile
                found.append(self._counts(name) if name in self._counting else self._other(name))
        for text in self._place.disk.names(self._place.folder):
            name_ = SegmentName.parse(text.removesuffix(UNFINISHED))
            if name_ and text.endswith(UNFINISHED):
                found.append(self._measured(text, name_, None, 0, "missing", "unfinished"))
        return found

    def _other(self, name: SegmentName) -> SegmentSurvey:
        valid = name in self._segments
        replaced = any(other.base_offset == name.base_offset for other in self._counting)
        state = "replaced" if valid or replaced else "damaged"
        if state == "damaged":
            self._damage.append(f"{name}: no valid header")
        return self._measured(str(name), name, None, 0, "missing", state)

    def _counts(self, name: SegmentName) -> SegmentSurvey:
        header = self._counting[name]
        file = self._place.disk.open(self._place.path(str(name)))
        try:
            size = file.size()
            end_offset, end_byte = self._end(header)
            used = max(end_byte, _used(file, end_byte, size))
        finally:
            file.close()
        if name == self._being_written:
            state, used = "open", end_byte
        else:
            state = "sealed" if used == size else "left open"
        return self._measured(str(name), name, end_offset, used - end_byte, self._index(header), state)

    def _end(self, header: SegmentHeader) -> tuple[Offset, int]:
        """Where its batches that count end: the offset and the byte."""
        end = self._ends[header.name]
        walk = walk_near(self._place, self._segments, header, Offset(max(header.base_offset, end - 1)), self._horizon)
        try:
            while walk.end.offset < end:
                if walk.peek() is None:
                    self._damage.append(f"{header.name} at byte {walk.at_byte:,}: {walk.fault}")
                    break
                walk.advance()
        except (DataCorrupt, Forked) as error:
            self._damage.append(str(error))
        finally:
            walk.close()
        return walk.end.offset, walk.at_byte

    def _index(self, header: SegmentHeader) -> str:
        if read_index(self._place, header):
            return "whole"
        return "damaged" if self._place.disk.stat(self._place.path(index_name(header.name))) else "missing"

    def _measured(
        self, text: str, name: SegmentName, end: Offset | None, passed_over: int, index: str, state: str
    ) -> SegmentSurvey:
        file = self._place.disk.open(self._place.path(text))
        try:
            size, allocated = file.size(), file.allocated()
        finally:
            file.close()
        data = self._horizon.segment_end if name == self._being_written else size
        return SegmentSurvey(text, name.base_offset, end, name.epoch, data, allocated, passed_over, index, state)


def _used(file: DiskFile, start: int, size: int) -> int:
    """One past the last byte after `start` that is not zero; the rest is reserved space."""
    used = start
    for position in range(start, size, _BLOCK_BYTES):
        if kept := file.read_at(position, _BLOCK_BYTES).rstrip(b"\0"):
            used = position + len(kept)
    return used


def _horizon_state(place: Place) -> str:
    if read_horizon(place):
        return "whole"
    return "damaged" if place.disk.stat(place.path("horizon")) else "missing"


def _holder(place: Place) -> Holder | None:
    """None where no writer ever took the lock."""
    try:
        found = os.stat(place.path("lock"))  # noqa: PTH116  the paths here are str
        content = Path(place.path("lock")).read_bytes()[:4096]
    except OSError:
        return None
    said: dict[str, Any] = {}
    with suppress(ValueError, RecursionError):
        loaded = json.loads(content)
        said = loaded if isinstance(loaded, dict) else {}
    pid, host, since = (str(said.get(key, "unknown")) for key in ("pid", "host", "since"))
    return Holder(pid, host, since, _is_locked(found, pid))


def _is_locked(lock: os.stat_result, pid: str) -> bool:
    """By the kernel's list: to try the lock would refuse a writer that starts at this moment.

    Some file systems number their devices otherwise there; then the holder's pid decides. What a process in another
    container holds is not listed.
    """
    device = f"{os.major(lock.st_dev):02x}:{os.minor(lock.st_dev):02x}:{lock.st_ino}"
    with suppress(OSError):
        for line in _LOCKS.read_text().splitlines():
            fields = line.split()
            if "FLOCK" in fields and len(fields) >= 6:
                at = fields[5]
                if at == device or (at.endswith(f":{lock.st_ino}") and fields[4] == pid):
                    return True
    return False

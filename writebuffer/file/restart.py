"""A log that is lost or damaged, begun again: empty, under the same identity, above every offset it ever gave.

A person's decision: what was in it and not persisted is given up. Nothing is deleted: the old folder is kept beside the
new one. The new log is whole before it gets its name, so that a crash leaves the old one, none, or the new one, and the
same call again does the rest.

    <root>/001                      the new log: one segment without records, whose name says where it begins
    <root>/001.lost-20260102T030405 the folder that was there
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath

from common.store.disk import Disk
from common.values.clock import Clock
from common.values.ids import Epoch, Offset
from writebuffer.file.format import HEADER_BYTES, HORIZON_BYTES, ChainEnd, Horizon, Place, SegmentHeader, SegmentName
from writebuffer.file.segment import OpenSegment

_LOST = ".lost-"
_NEW = ".new"


@dataclass(frozen=True, slots=True)
class Restarted:
    """first_offset: where the empty log begins. kept_in: the folder with the old files; "" where there were none."""

    first_offset: Offset
    kept_in: str


@dataclass(frozen=True, slots=True)
class _Given:
    """What a folder shows of a log: `end` is above every offset it gave, as far as known; `epoch` the newest writer's.

    has_horizon: then `end` is exact.
    """

    end: int
    epoch: int
    has_horizon: bool


def restart(place: Place, at_least: Offset, clock: Clock) -> Restarted:
    """Whoever calls holds the log's lock. at_least: above every offset that is known otherwise. Raises OSError.

    Where nothing of the old log is left that says where it ended, one offset more is left out: a gap that its reader
    has to accept, for records may be missing there.
    """
    disk = place.disk
    given = [_given(disk, folder) for folder in _folders(place)]
    unknown = not any(one.has_horizon for one in given)
    first_offset = Offset(max([at_least, *(one.end for one in given)]) + unknown)
    epoch = Epoch(1 + max((one.epoch for one in given), default=0))
    new = Place(disk, place.folder + _NEW, place.log_id, place.sequencer)
    _remove(disk, new.folder)
    disk.make_folder(new.folder)
    header = SegmentHeader.make(place.log_id, ChainEnd(first_offset, 0), epoch, clock.now_ns() // 1_000_000)
    segment = OpenSegment(new, header, HEADER_BYTES, unfinished=True)
    segment.finish()
    segment.seal()
    kept_in = _set_aside(place, clock)
    disk.sync_folder(str(PurePosixPath(place.folder).parent))
    disk.rename(new.folder, place.folder)
    disk.sync_folder(str(PurePosixPath(place.folder).parent))
    return Restarted(first_offset, kept_in)


def _set_aside(place: Place, clock: Clock) -> str:
    found = place.disk.stat(place.folder)
    if found is None:
        return ""
    at = datetime.fromtimestamp(clock.now_ns() / 1e9, UTC)
    kept_in = f"{place.folder}{_LOST}{at:%Y%m%dT%H%M%S%f}"
    place.disk.rename(place.folder, kept_in)
    return kept_in


def _folders(place: Place) -> list[str]:
    """The log's folder, what an interrupted restart left, and those that were set aside before."""
    root, _, name = place.folder.rpartition("/")
    names = [one for one in place.disk.names(root) if one in (name, name + _NEW) or one.startswith(name + _LOST)]
    return [f"{root}/{one}" for one in names]


def _given(disk: Disk, folder: str) -> _Given:
    """By names and horizon: every offset below a segment's base was given, and so was all that readers may return."""
    names = [found for name in disk.names(folder) if (found := SegmentName.parse(name))]
    end = max((name.base_offset for name in names), default=Offset(0))
    epoch = max((name.epoch for name in names), default=Epoch(0))
    horizon = _horizon(disk, folder)
    if horizon:
        end, epoch = max(end, horizon.durable_end), max(epoch, horizon.segment.epoch)
    return _Given(end, epoch, horizon is not None)


def _horizon(disk: Disk, folder: str) -> Horizon | None:
    try:
        file = disk.open(f"{folder}/horizon")
    except FileNotFoundError:
        return None
    try:
        return Horizon.parse(file.read_at(0, HORIZON_BYTES))
    finally:
        file.close()


def _remove(disk: Disk, folder: str) -> None:
    """The files of an interrupted restart; its segment says no more than those that are looked at anyway."""
    with suppress(FileNotFoundError):
        for name in disk.names(folder):
            disk.remove(f"{folder}/{name}")

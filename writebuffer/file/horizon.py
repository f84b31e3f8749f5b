"""The horizon file: how far readers in other processes may read, rewritten in place after every fdatasync.

It is written only after what it names is durable, so it is never ahead of the truth. It is not synced itself on the hot
path: after a power cut it may be old or torn, and the segments' own proof (walk.prove) replaces it. Opening and
closing do sync it, though nothing is safer for it: without, readers would have to wait for the newest batch, which the
segments alone cannot prove, until the log is opened for writing.

Readers open the file at each look: an open one would go on answering after the buffer was deleted and made again, and
opening costs 1 us of the 55 us that waking up for a look takes.
"""

from functools import lru_cache

from common.store.disk import DiskFile
from common.values.errors import Forked
from writebuffer.file.buffer_json import check_same_buffer
from writebuffer.file.format import HORIZON_BYTES, NO_EPOCH, Horizon, Place, SegmentName
from writebuffer.file.segments import Segments
from writebuffer.file.walk import prove

HORIZON = "horizon"
"""Its name."""
_READS = 5
"""A read may meet a write half done; one that fails so often in a row is damage."""

_parse = lru_cache(maxsize=64)(Horizon.parse)
"""An idle reader meets the same bytes again and again."""


class HorizonFile:
    """The writer's side."""

    def __init__(self, place: Place) -> None:
        path = place.path(HORIZON)
        self._file: DiskFile = place.disk.open(path, write=True) if place.disk.stat(path) else place.disk.create(path)

    def publish(self, horizon: Horizon) -> None:
        self._file.write_at(0, [horizon.encode()])

    def sync(self) -> None:
        self._file.sync_data()

    def close(self) -> None:
        self._file.close()


def read_horizon(place: Place) -> Horizon | None:
    """None when it is missing or damaged. Raises Forked when it is another log's."""
    try:
        file = place.disk.open(place.path(HORIZON))
    except FileNotFoundError:
        return None
    try:
        horizon = None
        for _ in range(_READS):
            if horizon := _parse(file.read_at(0, HORIZON_BYTES)):
                break
    finally:
        file.close()
    if horizon and horizon.log_id != place.log_id:
        raise Forked(
            f"{place}: holds log {horizon.log_id.hex()}, expected {place.log_id.hex()}: the write buffer was deleted "
            "and made again, or its folders were mixed; open it again, and start its readers from the first offset",
            sequencer=place.sequencer,
            expected=place.log_id.hex(),
            actual=horizon.log_id.hex(),
        )
    return horizon


def current_horizon(place: Place) -> Horizon:
    """What readers go by: the horizon file, or what the segments prove where it is missing or damaged.

    Where it is missing, the buffer may be gone. Raises Forked, DataCorrupt, OSError.
    """
    horizon = read_horizon(place)
    if horizon is None:
        check_same_buffer(place)
        segments = Segments(place)
        segments.refresh()
        nothing_written = SegmentName(segments.first_offset, NO_EPOCH)
        durable_end = prove(place, segments).durable_end
        horizon = Horizon(place.log_id, segments.first_offset, durable_end, nothing_written, 0)
    return horizon

"""The file backend's Reader: cursors over logs that another process may be writing, and answers about them."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from common.store.disk_errors import plain
from common.values.clock import Clock
from common.values.errors import Unavailable
from common.values.ids import SequencerId
from writebuffer.checks import check_sequencer
from writebuffer.contract import Offsets, Size, Stretch
from writebuffer.errors import Closed
from writebuffer.file.buffer_json import check_same_buffer
from writebuffer.file.cursor import FileCursor
from writebuffer.file.format import Place
from writebuffer.file.horizon import current_horizon, read_horizon
from writebuffer.file.index import index_name
from writebuffer.file.segments import Segments
from writebuffer.file.walk import lost_stretches


class FileReader:
    """Reads without a lock and without writing anything. Implements Reader, Measurable and Salvageable.

    Once the buffer was deleted, recreated or not, every call of it and of its cursors raises Forked.
    """

    def __init__(self, places: Sequence[Place], clock: Clock, url: str) -> None:
        self._places = places
        self._clock = clock
        self._url = url
        self._closed = threading.Event()

    @property
    def places(self) -> Sequence[Place]:
        """Where the logs are, for those who look at the files themselves."""
        return self._places

    def sequencers(self) -> Sequence[SequencerId]:
        return [place.sequencer for place in self._places]

    def cursor(self, sequencer: SequencerId) -> FileCursor:
        return FileCursor(self._place(sequencer), self._clock, self._closed)

    def offsets(self, sequencer: SequencerId) -> Offsets:
        """Raises Unavailable, Forked, UnknownSequencer."""
        place = self._place(sequencer)
        with _translated(place):
            horizon = current_horizon(place)
        return Offsets(horizon.first_offset, horizon.durable_end)

    def identity(self, sequencer: SequencerId) -> str:
        """Raises Forked once another log, or none, is there: what is gone has no identity to compare with."""
        place = self._place(sequencer)
        with _translated(place):
            if read_horizon(place) is None:
                check_same_buffer(place)
        return place.log_id.hex()

    def size(self, sequencer: SequencerId) -> Size:
        """Space reserved for the segment being written counts as disk, not as data, and so do indexes."""
        place = self._place(sequencer)
        data_bytes = disk_bytes = 0
        with _translated(place):
            horizon = current_horizon(place)
            segments = Segments(place)
            segments.refresh()
            for name in segments.names:
                file_bytes, allocated = _measure(place, str(name))
                data_bytes += horizon.segment_end if name == horizon.segment else file_bytes
                disk_bytes += allocated + _measure(place, index_name(name))[1]
        return Size(data_bytes, disk_bytes)

    def lost(self, sequencer: SequencerId) -> Sequence[Stretch]:
        """By the first batch of each segment: a salvage gives lost offsets segments of their own."""
        place = self._place(sequencer)
        with _translated(place):
            segments = Segments(place)
            segments.refresh()
            return lost_stretches(place, segments)

    def close(self) -> None:
        """Cursors raise Closed from now on, those that wait in a poll too."""
        self._closed.set()

    def _place(self, sequencer: SequencerId) -> Place:
        if self._closed.is_set():
            raise Closed(f"{self._url}: the reader was closed")
        check_sequencer(sequencer, len(self._places))
        return self._places[sequencer]


def _measure(place: Place, name: str) -> tuple[int, int]:
    try:
        file = place.disk.open(place.path(name))
    except FileNotFoundError:
        return 0, 0  # trimmed since it was listed, or an index that is not there
    try:
        return file.size(), file.allocated()
    finally:
        file.close()


@contextmanager
def _translated(place: Place) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = plain(error, place.folder)
        raise Unavailable(f"{place}: cannot be read: {reason}", sequencer=place.sequencer) from error

"""One segment while it is being written: header, then batches, in space reserved beforehand."""

import errno
from contextlib import suppress

import xxhash

from common.store.disk import DiskFile
from common.values.ids import Offset
from writebuffer.file.format import HEADER_BYTES, UNFINISHED, Body, ChainEnd, Place, SegmentHeader, batch_header
from writebuffer.file.index import IndexMaker, write_index
from writebuffer.file.walk import BatchBoundary

SMALL_BYTES = 2**20
"""A segment on a disk that is nearly full."""


class OpenSegment:
    """Appends batches. After an OSError it is not written again; every batch before it is kept."""

    def __init__(
        self, place: Place, header: SegmentHeader, length: int, *, least: int | None = None, unfinished: bool = False
    ) -> None:
        """Make the file with `length` bytes reserved; on an OSError none is left.

        least: what will do where the disk has no room for `length`; smaller segments are no reason to refuse a write.
        unfinished: it counts only from `finish` on.
        """
        self._place = place
        self.header = header
        self._path = place.path(str(header.name)) + (UNFINISHED if unfinished else "")
        self._length = length
        self._least = length if least is None else least
        self._named = False
        self._link = header.link
        self.end = self._touched = HEADER_BYTES
        self._index = IndexMaker(header)
        self._file = self._make()

    def has_room(self, body: Body) -> bool:
        return self.end + HEADER_BYTES + len(body.data) <= self._length

    def write(self, base_offset: Offset, body: Body, durable_lag: int) -> ChainEnd:
        """Write one batch, not synced yet; returns where the log ends once it is."""
        raw = batch_header(self.header, ChainEnd(base_offset, self._link), body, durable_lag)
        self._touched = self.end + HEADER_BYTES + len(body.data)
        self._file.write_at(self.end, [raw, body.data])
        self.end = self._touched
        self._link = xxhash.xxh3_64_intdigest(raw)
        end = ChainEnd(Offset(base_offset + body.count), self._link)
        self._index.passed(BatchBoundary(end.offset, self.end, end.link), body.greatest_time_ns)
        return end

    def sync(self) -> None:
        """Make everything written durable, the file's name included."""
        self._file.sync_data()
        if not self._named:
            self._place.disk.sync_folder(self._place.folder)
            self._named = True

    def finish(self) -> None:
        """Sync an unfinished segment, then let it count, all at once: a crash leaves the whole of it or nothing."""
        self._file.sync_data()
        self._place.disk.rename(self._path, self._path.removesuffix(UNFINISHED))
        self._place.disk.sync_folder(self._place.folder)

    def seal(self) -> None:
        """Give back the space that no write touched, not even one that failed, and close."""
        with suppress(OSError):  # only space is lost; the next opening for writing tries again
            self._file.truncate(self._touched)
        with suppress(OSError):  # what was acknowledged is synced
            self._file.close()

    def write_index(self) -> None:
        """Once it is sealed and nothing went wrong; what a full or failing disk has left is for the records."""
        write_index(self._place, self.header.name, self._index)

    def _make(self) -> DiskFile:
        file = self._place.disk.create(self._path)
        try:
            self._length = self._reserve(file)
            file.write_at(0, [self.header.raw])
        except OSError:
            file.close()
            with suppress(OSError):  # it holds nothing, and the next one has another epoch
                self._place.disk.remove(self._path)
            raise
        return file

    def _reserve(self, file: DiskFile) -> int:
        """The most that can be had of what was asked for, a small segment, and the least."""
        for length in sorted({self._length, max(self._least, min(SMALL_BYTES, self._length))}, reverse=True):
            try:
                file.allocate(length)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                file.truncate(0)
            else:
                return length
        file.allocate(self._least)
        return self._least

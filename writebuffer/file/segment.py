"""One segment while it is being written: header, then batches, in space reserved beforehand."""

from contextlib import suppress

import xxhash

from common.disk import DiskFile
from common.ids import Offset
from writebuffer.file.format import HEADER_BYTES, UNFINISHED, Body, Place, Position, SegmentHeader, batch_header


class OpenSegment:
    """Appends batches. After an OSError it is not written again; every batch before stands."""

    def __init__(self, place: Place, header: SegmentHeader, length: int, *, unfinished: bool = False) -> None:
        """Make the file with `length` bytes reserved; on an OSError none is left behind.

        unfinished: it counts only from `finish` on.
        """
        self._place = place
        self.header = header
        self._path = place.path(str(header.name)) + (UNFINISHED if unfinished else "")
        self._length = length
        self._named = False
        self._link = header.link
        self.end = self._touched = HEADER_BYTES
        self._file = self._make()

    def has_room(self, body: Body) -> bool:
        return self.end + HEADER_BYTES + len(body.data) <= self._length

    def write(self, base_offset: Offset, body: Body, durable_lag: int) -> Position:
        """Write one batch, not synced yet; returns where the log stands once it is."""
        raw = batch_header(self.header, Position(base_offset, self._link), body, durable_lag)
        self._touched = self.end + HEADER_BYTES + len(body.data)
        self._file.write_at(self.end, [raw, body.data])
        self.end = self._touched
        self._link = xxhash.xxh3_64_intdigest(raw)
        return Position(Offset(base_offset + body.count), self._link)

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
        self._file.close()

    def _make(self) -> DiskFile:
        file = self._place.disk.create(self._path)
        try:
            file.allocate(self._length)
            file.write_at(0, [self.header.raw])
        except OSError:
            file.close()
            with suppress(OSError):  # it holds nothing, and the next one has another epoch
                self._place.disk.remove(self._path)
            raise
        return file

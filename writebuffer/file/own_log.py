"""A log that is written to only while its buffer, its folder and its open segment are those that were opened.

Writes to open files succeed even after the files were moved away or deleted, and nobody would ever read them there. So
each commit first checks buffer.json, and the segment that is being written or, where there is none yet, the log's
folder, by one stat each.
"""

from collections.abc import Callable, Sequence

from common.logs import Logger
from common.store.disk import FileStat
from common.store.disk_errors import plain
from common.values.clock import Clock
from common.values.errors import Forked, Unavailable
from common.values.ids import Offset
from writebuffer.errors import BufferNotFound
from writebuffer.file.buffer_json import BufferJson
from writebuffer.file.format import Place, SegmentName
from writebuffer.file.log import LogWriter
from writebuffer.record import Record

_DELETED = (
    "the buffer was deleted since this writer opened it; start this process again, and those that read the buffer"
)
_REPLACED = (
    "another folder is in the place of the one that this writer opened. Bring the right one back, then start the "
    "process again"
)


class OpenedBuffer:
    """Whether the buffer is still the one that was opened: an old writer must not change a buffer created after it."""

    def __init__(self, url: str, stat: Callable[[], FileStat | None], load: Callable[[], BufferJson]) -> None:
        self._url = url
        self._stat = stat
        self._load = load
        self._seen = stat()
        self.json = load()

    def check(self) -> None:
        """One look at the file's time, and at the file where that changed. Raises Forked, Unavailable."""
        try:
            seen = self._stat()
            if seen == self._seen:
                return
            if self._load().buffer_id != self.json.buffer_id:
                raise Forked(f"{self._url}: {_DELETED}")
        except BufferNotFound:
            raise Forked(f"{self._url}: {_DELETED}") from None
        except OSError as error:
            folder = self._url.removeprefix("file://")
            raise Unavailable(f"write buffer {self._url}: {plain(error, folder)}", written="no") from error
        self._seen = seen


class OwnLog(LogWriter):
    """A log that is not written to, nor trimmed, once its buffer or its own files are not those that were opened.

    Writes to the open files would still succeed, and nobody would ever read the records.
    """

    def __init__(
        self, place: Place, clock: Clock, segment_bytes: int, logger: Logger, check: Callable[[], None]
    ) -> None:
        self._check_buffer = check
        self._place = place
        check()
        self._opened = self._folder()
        self._written: tuple[SegmentName, str, tuple[int, int]] | None = None
        """The segment that was written last, its path, and which file it is."""
        super().__init__(place, clock, segment_bytes, logger)

    def commit(self, records: Sequence[Record]) -> Offset:
        """As LogWriter's; also Forked."""
        self._check()
        first_offset = super().commit(records)
        self._note_segment()
        return first_offset

    def trim(self, before: Offset) -> Offset:
        self._check()
        return super().trim(before)

    def _check(self) -> None:
        """Where the segment's path leads to the file that is written, the folders on it are the right ones too."""
        self._check_buffer()
        written = self._written if self._written and self._written[0] == self.segment_name else None
        if written and _which(self._stat(written[1])) == written[2]:
            return
        place = self._place
        if self._folder() != self._opened:
            raise Forked(f"{place}: {_REPLACED}", sequencer=place.sequencer)
        if written:
            name = str(written[0])
            raise Forked(
                f"{place}: segment {name} was removed or replaced while it was written. Nothing more is written to "
                "it; restore the folder from a copy",
                sequencer=place.sequencer,
                segment=name,
            )

    def _folder(self) -> tuple[int, int]:
        found = _which(self._stat(self._place.folder))
        if found is None:
            raise Unavailable(
                f"{self._place}: the log's folder is gone; bring it back, writing then goes on",
                sequencer=self._place.sequencer,
            )
        return found

    def _note_segment(self) -> None:
        name = self.segment_name
        if name and (not self._written or self._written[0] != name):
            path = self._place.path(str(name))
            self._written = (name, path, _which(self._stat(path)) or (0, 0))

    def _stat(self, path: str) -> FileStat | None:
        try:
            return self._place.disk.stat(path)
        except OSError as error:
            reason = plain(error, self._place.folder)
            raise Unavailable(f"{self._place}: {reason}", sequencer=self._place.sequencer) from error


def _which(found: FileStat | None) -> tuple[int, int] | None:
    return (found.device, found.inode) if found else None

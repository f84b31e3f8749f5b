"""A log that is written to only while its buffer, its folder and its open segment are those that were opened.

Writes to open files succeed even after the files were moved away or deleted, and nobody would ever read them there. So
each commit first checks buffer.json, the log's folder and the segment that is being written, by one stat each.
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
from writebuffer.file.format import Place
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
        self._opened = self._check_folder()
        self._written: tuple[str, tuple[int, int]] | None = None
        """The segment file that was written last, and which file it is."""
        super().__init__(place, clock, segment_bytes, logger)

    def commit(self, records: Sequence[Record]) -> Offset:
        """As LogWriter's; also Forked."""
        self._check()
        first_offset = super().commit(records)
        if name := self.segment_name:
            self._note_segment(str(name))
        return first_offset

    def trim(self, before: Offset) -> Offset:
        self._check()
        return super().trim(before)

    def _check(self) -> None:
        place = self._place
        if self._check_folder() != self._opened:
            raise Forked(f"{place}: {_REPLACED}", sequencer=place.sequencer)
        if self._written and self._written[0] == str(self.segment_name):
            name, known = self._written
            if _which(self._stat(place.path(name))) != known:
                raise Forked(
                    f"{place}: segment {name} was removed or replaced while it was written. Nothing more is written to "
                    "it; restore the folder from a copy",
                    sequencer=place.sequencer,
                    segment=name,
                )

    def _check_folder(self) -> tuple[int, int]:
        self._check_buffer()
        found = _which(self._stat(self._place.folder))
        if found is None:
            raise Unavailable(
                f"{self._place}: the log's folder is gone; bring it back, writing then goes on",
                sequencer=self._place.sequencer,
            )
        return found

    def _note_segment(self, name: str) -> None:
        if not self._written or self._written[0] != name:
            found = _which(self._stat(self._place.path(name)))
            self._written = (name, found or (0, 0))

    def _stat(self, path: str) -> FileStat | None:
        try:
            return self._place.disk.stat(path)
        except OSError as error:
            reason = plain(error, self._place.folder)
            raise Unavailable(f"{self._place}: {reason}", sequencer=self._place.sequencer) from error


def _which(found: FileStat | None) -> tuple[int, int] | None:
    return (found.device, found.inode) if found else None

"""Which segments of a log count.

Names sort in the order of making. A segment is made only when everything below its base offset is durable; one made
again at the same base (after a failed write, or to write an unproven tail again) replaces those before it. So of one
base the greatest epoch with a valid header counts. A file whose header is not valid holds nothing: fine for the newest
(its maker died), corruption where no other of the same base counts and newer bases exist.
"""

from bisect import bisect_left, bisect_right

from common.values.errors import DataCorrupt
from common.values.ids import Offset
from writebuffer.errors import SALVAGE
from writebuffer.file.format import HEADER_BYTES, Place, SegmentHeader, SegmentName


class Segments:
    """The segments of one folder as of the last `refresh`; empty before. Headers are read once, unless `reread`."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._headers: dict[SegmentName, SegmentHeader] = {}
        self._bases: list[Offset] = []
        self._counting: list[SegmentHeader | None] = []
        self.names: list[SegmentName] = []
        """Of every segment file, counting or not, oldest first."""

    def refresh(self, *, reread: bool = False) -> None:
        """List the folder again. A folder that is missing is an empty log.

        reread: headers too, for whoever met something wrong: other files may have the names of earlier ones.
        """
        if reread:
            self._headers = {}
        try:
            found = self._place.disk.names(self._place.folder)
        except FileNotFoundError:
            found = []
        self.names = []
        headers: dict[SegmentName, SegmentHeader] = {}
        for name in sorted(name for text in found if (name := SegmentName.parse(text))):
            try:
                header = self._headers.get(name) or self._header(name)
            except FileNotFoundError:  # trimmed since it was listed
                continue
            self.names.append(name)
            if header:
                headers[name] = header
        self._headers = headers
        counting: dict[Offset, SegmentHeader | None] = {}
        for name in self.names:
            counting[name.base_offset] = self._headers.get(name) or counting.get(name.base_offset)
        while counting and next(reversed(counting.values())) is None:
            counting.popitem()
        self._bases, self._counting = list(counting), list(counting.values())

    def __contains__(self, name: SegmentName) -> bool:
        return name in self._headers

    def holding(self, offset: Offset) -> SegmentHeader | None:
        """The segment that holds `offset`, or would: the one with the greatest base up to it. None below the first.

        Raises DataCorrupt when no header of that base is valid.
        """
        index = bisect_right(self._bases, offset) - 1
        return self._at(index) if index >= 0 else None

    def newest(self, back: int = 0) -> SegmentHeader | None:
        """The newest segment that counts, or the one `back` before it, or else the first; None in an empty log."""
        return self._at(max(0, len(self._counting) - 1 - back)) if self._counting else None

    def counting(self) -> list[SegmentHeader]:
        """Those that count, oldest first; a base offset without a valid header is left out."""
        return [header for header in self._counting if header]

    def after(self, segment: SegmentHeader) -> SegmentHeader | None:
        """The next one that counts, if any. Raises DataCorrupt when no header of its base is valid."""
        index = bisect_right(self._bases, segment.base_offset)
        return self._at(index) if index < len(self._bases) else None

    def before(self, segment: SegmentHeader) -> SegmentHeader | None:
        """The one before that counts, if any. Raises DataCorrupt when no header of its base is valid."""
        index = bisect_left(self._bases, segment.base_offset) - 1
        return self._at(index) if index >= 0 else None

    @property
    def first_offset(self) -> Offset:
        return self.names[0].base_offset if self.names else Offset(0)

    def _at(self, index: int) -> SegmentHeader:
        header = self._counting[index]
        if header is None:
            base = self._bases[index]
            raise DataCorrupt(
                f"{self._place}: no segment with base offset {base} has a valid header; nothing was cut. Restore the "
                f"folder from a copy; without one: {SALVAGE}",
                sequencer=self._place.sequencer,
                base_offset=base,
            )
        return header

    def _header(self, name: SegmentName) -> SegmentHeader | None:
        file = self._place.disk.open(self._place.path(str(name)))
        try:
            header = SegmentHeader.parse(file.read_at(0, HEADER_BYTES), self._place.log_id)
        finally:
            file.close()
        return header if header and header.name == name else None

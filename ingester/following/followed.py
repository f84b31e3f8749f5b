"""How far a stream was read, by whoever owns the cursor."""

from collections.abc import Sequence

from common.catalog.manifest.change import StreamMark
from common.values.errors import DataCorrupt, Forked
from common.values.ids import Offset, SequencerId
from writebuffer.contract import Batch, Cursor, Reader, SequencedRecord
from writebuffer.same_stream import FoundStream, difference, find_stream


class Followed:
    """How far a stream was read, and what it must still be when the buffer is back. For whoever owns the cursor."""

    def __init__(self, sequencer: SequencerId, next_offset: Offset, mark: StreamMark) -> None:
        """mark: the stream's identity, and the last record below `next_offset` where one is known."""
        self.next_offset = next_offset
        self.mark = mark
        self._sequencer = sequencer

    def open(self, reader: Reader) -> tuple[Cursor, FoundStream]:
        """A cursor where the last one was. Raises Forked where it is another stream, OffsetTrimmed, Unavailable."""
        found = find_stream(reader, self._sequencer, self.mark, self.next_offset)
        if different := difference(self.mark, self.next_offset, found):
            raise Forked(
                f"sequencer {self._sequencer}: the write buffer came back as another stream than the one followed up "
                f"to {self.next_offset}: {different}. Bring the right one back",
                sequencer=self._sequencer,
            )
        cursor = reader.cursor(self._sequencer)
        try:
            cursor.seek(self.next_offset)
        except BaseException:
            cursor.close()
            raise
        return cursor, found

    def read(self, batch: Batch) -> Sequence[SequencedRecord]:
        """Go on past `batch`; returns its records. Raises DataCorrupt where the buffer hands out a record again."""
        at = self.next_offset
        for record in batch.records:
            if record.offset < at:
                raise DataCorrupt(
                    f"sequencer {self._sequencer}: the write buffer returned offset {record.offset} after everything "
                    f"below {at} had been read",
                    sequencer=self._sequencer,
                    offset=record.offset,
                )
            at = Offset(record.offset + 1)
        if batch.records:
            last = batch.records[-1]
            self.mark = StreamMark(self.mark.identity, last.offset, last.record.checksum())
        self.next_offset = batch.next_offset
        return batch.records

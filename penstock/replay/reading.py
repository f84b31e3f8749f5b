"""The records of a range of one sequencer, in order, in bounded memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from common.values.errors import Misconfigured, Unavailable
from common.values.ids import Offset, SequencerId
from writebuffer.contract import Reader, SeekableByTime, SequencedRecord

POLL_RECORDS = 1_000
POLL_BYTES = 16 * 1024 * 1024
POLL_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Range:
    """The offsets from `first` up to and without `end`."""

    sequencer: SequencerId
    first: Offset
    end: Offset

    def holds(self, first: Offset, last: Offset) -> bool:
        """Whether all offsets from `first` to `last` are in it."""
        return self.first <= first and last < self.end


def read(
    reader: Reader, asked: Range, progress: Callable[[int], None] = lambda passed: None
) -> Iterator[list[SequencedRecord]]:
    """The records of `asked`, poll by poll. progress: called with the number of offsets passed.

    Raises OffsetTrimmed naming the oldest offset left, OffsetInFuture, Unavailable, also where the buffer stays silent
    below its own next offset.
    """
    cursor = reader.cursor(asked.sequencer)
    try:
        cursor.seek(asked.first)
        at = asked.first
        while at < asked.end:
            batch = cursor.poll(POLL_RECORDS, POLL_BYTES, POLL_TIMEOUT_S)
            if batch.next_offset == at:
                raise Unavailable(
                    f"sequencer {asked.sequencer}: no record came at offset {at}, although the log goes up to "
                    f"{asked.end}: check the write buffer, then run this again"
                )
            yield [record for record in batch.records if record.offset < asked.end]
            progress(min(batch.next_offset, asked.end) - at)
            at = batch.next_offset
    finally:
        cursor.close()


def offset_at(reader: Reader, sequencer: SequencerId, time_ns: int) -> Offset:
    """Of the first record whose append time is at or after `time_ns`; the next offset where there is none.

    Raises Misconfigured for a write buffer that cannot find offsets by time.
    """
    cursor = reader.cursor(sequencer)
    try:
        if not isinstance(cursor, SeekableByTime):
            raise Misconfigured("this write buffer cannot find offsets by time: give offsets instead")
        cursor.seek_to_time(time_ns)
        batch = cursor.poll(1, 1, 0.0)
        return batch.records[0].offset if batch.records else batch.next_offset
    finally:
        cursor.close()

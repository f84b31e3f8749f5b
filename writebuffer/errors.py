"""The write buffer's own errors, each a kind of common.values.errors' groups.

InvalidRequest
├── UnknownSequencer      no such sequencer
├── RecordTooLarge        more than record_bytes_max; nothing was written
├── MalformedRecord       headers or payload of the wrong type or size
├── OffsetInFuture        seek above next offset; the cursor stays where it was
├── OffsetTrimmed         asked for what is no longer there; `first_offset` is the oldest left
├── BufferNotFound        nothing at this URL; the message says how to create it
└── Closed                the writer, reader or cursor was closed before the call
Unavailable
└── WriterDied            this writer answers nothing any more: stop, and start again
Misconfigured
├── SequencersDiffer      opened or created with another number of sequencers
└── HeldByAnother         another writer holds it: pid, host and since when
"""

from common.values.errors import InvalidRequest, Misconfigured, Unavailable
from common.values.ids import Offset, SequencerId


class UnknownSequencer(InvalidRequest):
    def __init__(self, sequencer: int, sequencers: int) -> None:
        super().__init__(
            f"sequencer {sequencer}: unknown; this buffer has {sequencers} (0..{sequencers - 1})",
            sequencer=sequencer,
            sequencers=sequencers,
        )


class RecordTooLarge(InvalidRequest):
    def __init__(self, sequencer: SequencerId, record_bytes: int, record_bytes_max: int) -> None:
        super().__init__(
            f"sequencer {sequencer}: record of {record_bytes} bytes is over record_bytes_max {record_bytes_max}",
            sequencer=sequencer,
            record_bytes=record_bytes,
            record_bytes_max=record_bytes_max,
        )


class MalformedRecord(InvalidRequest):
    pass


class OffsetInFuture(InvalidRequest):
    def __init__(self, sequencer: SequencerId, asked: int, next_offset: Offset) -> None:
        super().__init__(
            f"sequencer {sequencer}: seek to {asked} is past next offset {next_offset}",
            sequencer=sequencer,
            asked=asked,
            next_offset=next_offset,
        )


class OffsetTrimmed(InvalidRequest):
    def __init__(self, sequencer: SequencerId, asked: int, first_offset: Offset) -> None:
        super().__init__(
            f"sequencer {sequencer}: offset {asked} was trimmed; the oldest still readable is {first_offset}",
            sequencer=sequencer,
            asked=asked,
            first_offset=first_offset,
        )


class RecordsLost(InvalidRequest):
    """Offsets that somebody needs are among those that a salvage of the buffer gave up."""


SALVAGE = (
    "`penstock log salvage DATA` shows what is left of a damaged or lost log, and goes on with that "
    "(docs/operations.md, A damaged or lost log; also for Redis and Kafka)"
)
"""What to do where no copy brings the records back: the end of messages."""

HOW_TO_MAKE = (
    "for a new cluster `penstock up` or a router makes it, in Python `connect(url).create(sequencers)`; if it was "
    f"there before, bring it back. Else {SALVAGE}"
)
"""What to do about a buffer that does not exist: the end of every backend's message."""


class BufferNotFound(InvalidRequest):
    pass


class Closed(InvalidRequest):
    pass


class SequencersDiffer(Misconfigured):
    pass


class HeldByAnother(Misconfigured):
    pass


class WriterDied(Unavailable):
    """Not a matter of retrying: the backend's own thread is gone, its end is the `__cause__`."""

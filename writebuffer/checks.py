"""What every backend checks at the call, so that the same mistake gets the same error everywhere."""

from collections.abc import Sequence

from common.errors import DataCorrupt, InvalidRequest, Misconfigured
from common.ids import SequencerId
from writebuffer.errors import MalformedRecord, RecordTooLarge, SequencersDiffer, UnknownSequencer
from writebuffer.record import RECORD_BYTES_MAX, Record


def check_count(url: str, sequencers: int) -> None:
    """Of `create`, before anything is made. Raises Misconfigured."""
    if sequencers < 1:
        raise Misconfigured(f"{url}: a write buffer has at least 1 sequencer, asked for {sequencers}")


def check_found_count(url: str, found: int, asked: int, other: str) -> None:
    """Of `create`, of a buffer that stands with `found` sequencers. Raises SequencersDiffer.

    other: what a new buffer could have of its own, e.g. "a folder".
    """
    if found != asked:
        raise SequencersDiffer(
            f"{url} was made with {found} sequencers, asked for {asked}: start with --sequencers {found}, or give the "
            f"new cluster {other} of its own",
            sequencers=found,
            asked=asked,
        )


def check_sequencer(sequencer: SequencerId, sequencers: int) -> None:
    """Raises UnknownSequencer."""
    if not isinstance(sequencer, int) or not 0 <= sequencer < sequencers:
        raise UnknownSequencer(sequencer, sequencers)


def check_append(sequencer: SequencerId, sequencers: int, records: Sequence[Record]) -> int:
    """The bytes of all `records`. Raises UnknownSequencer, MalformedRecord, RecordTooLarge; nothing is written then.

    A record is looked at once in its life: one that passed here, or that Record.of made, carries its size.
    """
    check_sequencer(sequencer, sequencers)
    if not records:
        raise MalformedRecord(f"sequencer {sequencer}: append_many takes at least one record, got none")
    total_bytes = 0
    for record in records:
        size = record.checked_bytes if isinstance(record, Record) else 0
        if not 0 < size <= RECORD_BYTES_MAX:
            size = _checked_bytes(sequencer, record)
        total_bytes += size
    return total_bytes


def check_limits(max_records: int, max_bytes: int) -> None:
    """Raises InvalidRequest for a poll that could return nothing at all."""
    if max_records < 1 or max_bytes < 1:
        raise InvalidRequest(f"poll needs max_records and max_bytes of at least 1, got {max_records} and {max_bytes}")


def _checked_bytes(sequencer: SequencerId, record: Record) -> int:
    if not isinstance(record, Record):
        raise MalformedRecord(f"sequencer {sequencer}: asked to append {type(record).__name__}, not a Record")
    if not isinstance(record.payload, bytes) or not isinstance(record.header_block, bytes):
        raise MalformedRecord(f"sequencer {sequencer}: header block and payload must be bytes; use Record.of")
    if len(record) > RECORD_BYTES_MAX:
        raise RecordTooLarge(sequencer, len(record), RECORD_BYTES_MAX)
    try:
        block = Record.from_bytes(record.header_block)
    except DataCorrupt as error:
        raise MalformedRecord(f"sequencer {sequencer}: {error}") from None
    if block.payload:
        raise MalformedRecord(f"sequencer {sequencer}: header block is longer than it says; make records by Record.of")
    record.checked_bytes = len(record)
    return record.checked_bytes

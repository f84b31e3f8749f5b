"""What every backend checks at the call, so that the same mistake gets the same error everywhere."""

from collections.abc import Sequence

from common.values.errors import DataCorrupt, InvalidRequest, Misconfigured
from common.values.ids import SequencerId
from common.values.shown import counted
from writebuffer.errors import MalformedRecord, RecordTooLarge, SequencersDiffer, UnknownSequencer
from writebuffer.record import RECORD_BYTES_MAX, Record

SEQUENCERS_MAX = 999
"""Three digits of a folder's name, and what is believed of a stored number before anything is made for each of them."""


def check_count(url: str, sequencers: int) -> None:
    """Of `create`, before anything is made. Raises Misconfigured."""
    if not 1 <= sequencers <= SEQUENCERS_MAX:
        raise Misconfigured(f"{url}: a write buffer has 1 to {SEQUENCERS_MAX} sequencers, asked for {sequencers}")


def check_stored_count(sequencers: object) -> int:
    """Of a number that was read from the backend. Raises ValueError."""
    if type(sequencers) is not int or not 1 <= sequencers <= SEQUENCERS_MAX:
        raise ValueError(f"sequencers is {sequencers!r}, not 1 to {SEQUENCERS_MAX}")
    return sequencers


def check_found_count(url: str, found: int, asked: int, other: str) -> None:
    """Of `create`, of a buffer that exists with `found` sequencers. Raises SequencersDiffer.

    other: what a new buffer could have of its own, e.g. "a folder".
    """
    if found != asked:
        raise SequencersDiffer(
            f"{url} was made with {counted(found, 'sequencer')}, asked for {asked}: start with --sequencers {found}, "
            f"or give the new cluster {other} of its own",
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

"""What cursors and writers find wrong with a partition: the errors, with what was known and what is there now."""

from confluent_kafka import Message

from common.values.errors import DataCorrupt, Forked
from common.values.ids import Offset, SequencerId
from writebuffer.contract import SequencedRecord
from writebuffer.kafka.topic import Topic
from writebuffer.record import Record

_LOST = "the cluster has lost acknowledged records (a disk, an unclean leader election): replay into a new store"


def end_before(topic: Topic, sequencer: SequencerId, read_to: Offset, next_offset: Offset) -> Forked:
    return Forked(
        f"{topic.place(sequencer)}: records were read up to {read_to}, but the next offset is {next_offset}: {_LOST}",
        sequencer=sequencer,
        asked=read_to,
        next_offset=next_offset,
    )


def another(topic: Topic, sequencer: SequencerId, known: SequencedRecord, found: str) -> Forked:
    """Where `known` was read, or acknowledged, there is something else."""
    return Forked(
        f"{topic.place(sequencer)}: the record known at offset {known.offset}, checksum "
        f"{known.record.checksum():016x}, is not there any more: found {found}; {_LOST}",
        sequencer=sequencer,
        offset=known.offset,
    )


def described(one: SequencedRecord) -> str:
    """For `another`: what was found."""
    return f"offset {one.offset}, checksum {one.record.checksum():016x}"


def offset_went_back(topic: Topic, sequencer: SequencerId, offset: Offset, newest: Offset) -> Forked:
    return Forked(
        f"{topic.place(sequencer)}: a record was given offset {offset}, after an earlier one had {newest}: the topic "
        f"was made again, or {_LOST}",
        sequencer=sequencer,
        offset=offset,
        newest=newest,
    )


def no_record(topic: Topic, sequencer: SequencerId, message: Message) -> DataCorrupt:
    offset, error = message.offset(), "it is no record of penstock"
    try:
        Record.from_bytes(message.value() or b"")
    except DataCorrupt as raised:
        error = raised.message
    return DataCorrupt(
        f"{topic.place(sequencer)}: offset {offset}: {error}; something else writes to this topic, or a record was "
        "damaged: seek past it and count what is missing",
        sequencer=sequencer,
        offset=offset,
    )

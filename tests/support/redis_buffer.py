"""A write buffer on a Redis that the test owns, and what most tests of it do."""

from collections.abc import Sequence

from common.ids import SequencerId
from tests.support.buffer_records import record
from writebuffer.contract import Cursor, Writer
from writebuffer.redis import RedisBackend

ONE = SequencerId(0)


def made(url: str, sequencers: int = 1) -> RedisBackend:
    backend = RedisBackend.from_url(url)
    backend.create(sequencers)
    return backend


def append(writer: Writer, numbers: Sequence[int], sequencer: int = 0) -> list[int]:
    """The records of those numbers, each awaited before the next; their offsets."""
    return [writer.append(SequencerId(sequencer), record(number)).result(30).offset for number in numbers]


def polled(cursor: Cursor, timeout_s: float = 0) -> list[int]:
    return [one.offset for one in cursor.poll(10_000, 2**30, timeout_s).records]

"""The list of batches of a Redis stream, as a search by time reads it."""

import pytest

from common.values.errors import DataCorrupt
from common.values.ids import SequencerId
from writebuffer.redis.commands import pack_time
from writebuffer.redis.cursor import RedisCursor
from writebuffer.redis.keys import Keys
from writebuffer.redis.stream import RedisStream

STREAM = RedisStream(SequencerId(3), Keys.of("penstock", SequencerId(3)), b"one", "redis://host")
GOOD = [b"b", b"0", b"t", pack_time(7)]


class Server:
    """A Link to a stream of next offset 9 whose list of batches has one entry."""

    def __init__(self, entry: bytes, fields: list[bytes]) -> None:
        self._page = [[entry, fields]]

    def run(self, *arguments: object) -> list[object]:
        return [b"one", 0, 9, 0]

    def call(self, *command: bytes) -> list[list[object]]:
        if command[0] == b"XREVRANGE" or command[2].startswith(b"("):
            return []
        return [list(one) for one in self._page]


def batches(entry: bytes, fields: list[bytes]) -> list[tuple[int, int, int]]:
    cursor = object.__new__(RedisCursor)  # the search alone: no connection, no position
    cursor._stream = STREAM
    return list(cursor._batches(Server(entry, fields), 0, 9))  # type: ignore[arg-type]


def test_a_batch_reaches_to_the_next_or_to_the_end() -> None:
    """First offset, end offset and greatest append time, of the only batch."""
    assert batches(b"0-1", GOOD) == [(0, 9, 7)]


@pytest.mark.parametrize(
    ("entry", "fields"),
    [
        (b"0-5", [b"b", b"0", b"t", b"short"]),
        (b"0-5", [b"b", b"0"]),
        (b"0-5", []),
        (b"0-5", [b"b", b"0", b"x", pack_time(7)]),
        (b"1700000000000-0", GOOD),
    ],
    ids=["time-too-short", "no-time", "no-fields", "other-name", "foreign-id"],
)
def test_a_foreign_entry_among_the_batches_is_corrupt_and_named(entry: bytes, fields: list[bytes]) -> None:
    """Never struct.error or IndexError: sequencer, key and entry id are in the message."""
    with pytest.raises(DataCorrupt) as raised:
        batches(entry, fields)
    assert "sequencer 3" in raised.value.message
    assert STREAM.keys.batches.decode() in raised.value.message
    assert entry.decode() in raised.value.message

"""What a Redis writer compares after a reconnect, and when its pauses and log lines start over."""

from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import CapturingLogger

from common.values.errors import Forked
from common.values.ids import Offset, SequencerId
from tests.support.buffer_records import record, records
from writebuffer.record import Record
from writebuffer.redis.history import History
from writebuffer.redis.keys import Keys
from writebuffer.redis.link import Lost, NotServing
from writebuffer.redis.reconnecting import PAUSE_FIRST_S, PAUSE_MAX_S, Reconnecting
from writebuffer.redis.stream import RedisStream

STREAM = RedisStream(SequencerId(0), Keys.of("penstock", SequencerId(0)), b"one", "redis://host")


class Server:
    """A Link to a server's content: an identity, a next offset and records by offset."""

    server = "redis host:1"

    def __init__(self, next_offset: int, stored: dict[int, Record], identity: bytes = b"one") -> None:
        self._next_offset = next_offset
        self._stored = stored
        self._identity = identity
        self.closed = False

    def call(self, *command: bytes) -> Any:
        if command[0] == b"HMGET":
            return [self._identity, b"%d" % self._next_offset]
        if command[0] == b"XRANGE":
            one = self._stored.get(int(command[2][2:]) - 1)
            return [] if one is None else [[command[2], [b"r", one.to_bytes()]]]
        return b"OK"

    def close(self) -> None:
        self.closed = True


def known() -> History:
    """Records 10..13 are at 0..3, and 11 was sent once more."""
    history = History(STREAM, Offset(0))
    history.learned(4, [(0, 4)], records(range(10, 14)))
    history.learned(4, [(1, 1)], records([11]))
    return history


@pytest.mark.parametrize(
    "server",
    [
        Server(4, {3: record(13)}),
        Server(9, {3: record(13, 500, time_ns=7)}),  # the first one's bytes are stored
        Server(4, {}),  # trimmed
    ],
)
def test_a_stream_that_holds_what_was_acknowledged_is_the_same(server: Server) -> None:
    """After any appends or trims meanwhile."""
    known().check(server)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("server", "why"),
    [
        (Server(4, {3: record(13)}, b"other"), "identity"),
        (Server(3, {}), "found next 3"),
        (Server(9, {1: record(11), 3: record(99)}), "offset 3 holds another record"),
    ],
)
def test_a_stream_that_lost_what_was_acknowledged_is_forked(server: Server, why: str) -> None:
    """By its identity, its next offset, or the newest record; a repeat of an older one does not hide that."""
    with pytest.raises(Forked, match=why):
        known().check(server)  # type: ignore[arg-type]


def test_the_newest_record_of_a_mixed_batch_is_the_one_with_the_greatest_offset() -> None:
    """Though repeats of older ones came after it."""
    history = known()
    history.learned(6, [(4, 2), (0, 1)], records([20, 21, 10]))
    history.check(Server(6, {5: record(21), 0: record(10)}))  # type: ignore[arg-type]
    with pytest.raises(Forked, match="offset 5 holds another"):
        history.check(Server(6, {5: record(10)}))  # type: ignore[arg-type]


def reconnecting(connect: Callable[[], Server]) -> tuple[Reconnecting, CapturingLogger]:
    logged = CapturingLogger()
    first: Any = Server(0, {})
    return Reconnecting(first, connect, History(STREAM, Offset(0)), SequencerId(0), logged), logged  # type: ignore[arg-type]


def test_pauses_grow_until_a_batch_gets_through() -> None:
    """A server that takes connections and refuses every batch is no less in trouble, and is logged once."""
    connection, logged = reconnecting(lambda: Server(0, {}))
    pauses_s = []
    for _ in range(10):
        connection.link()
        pauses_s.append(connection.lost(NotServing("a slot moves")))
    assert pauses_s[:3] == [PAUSE_FIRST_S, 2 * PAUSE_FIRST_S, 4 * PAUSE_FIRST_S]
    assert pauses_s[-1] == PAUSE_MAX_S
    connection.link()
    connection.got_through()
    assert connection.trouble is None
    assert connection.lost(Lost("again")) == PAUSE_FIRST_S
    assert [call.args[0] for call in logged.calls] == ["connection lost", "connected again", "connection lost"]


def test_a_connection_to_another_history_is_closed_and_not_kept() -> None:
    """Forked comes out, and the next attempt asks again."""
    other = Server(0, {}, b"other")
    connection, _ = reconnecting(lambda: other)
    connection.lost(Lost("gone"))
    with pytest.raises(Forked):
        connection.link()
    assert other.closed

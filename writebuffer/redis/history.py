"""What a writer knows of its stream, and finds again at each connect or is Forked: the stream went on without it."""

from collections.abc import Iterable, Sequence

from common.values.errors import Forked
from common.values.ids import Offset
from writebuffer.record import Record
from writebuffer.redis.commands import Runs
from writebuffer.redis.in_flight import Stretch
from writebuffer.redis.link import Link
from writebuffer.redis.stream import RedisStream, read_one


class History:
    """The identity, the next offset as far as this writer knows, and its newest acknowledged record."""

    def __init__(self, stream: RedisStream, next_offset: Offset) -> None:
        self._stream = stream
        self.next_offset = next_offset
        self._newest: tuple[Offset, Record] | None = None

    def learned(self, next_offset: int, stretches: Iterable[Stretch], records: Sequence[Record]) -> None:
        """`records` are acknowledged, at the offsets of `stretches`. A repeat makes nothing newer."""
        self.next_offset = max(self.next_offset, Offset(next_offset))
        passed = 0
        for first_offset, count in stretches:
            passed += count
            last_offset = Offset(first_offset + count - 1)
            if self._newest is None or last_offset > self._newest[0]:
                self._newest = last_offset, records[passed - 1]

    def check(self, link: Link) -> None:
        """Raises Forked, and what Link.call does."""
        identity, next_text = link.call(b"HMGET", self._stream.keys.state, b"identity", b"next")
        if identity != self._stream.identity:
            raise self._stream.another(identity)
        if int(next_text) < self.next_offset:
            raise self._stream.forked(
                f"offsets below {self.next_offset} were acknowledged, found next {int(next_text)}"
            )
        if self._newest:
            self._check_record(link, *self._newest)

    def differs(self, found: str) -> Forked:
        """The append script's FORKED: what it found."""
        known = f"identity {self._stream.identity.decode()} and next offset {self.next_offset}"
        return self._stream.forked(f"{known} were known, found {found}")

    def _check_record(self, link: Link, offset: Offset, acknowledged: Record) -> None:
        """Known by producer and sequence: of a record sent twice the first one's bytes are kept. It may be trimmed."""
        found = read_one(link, self._stream, offset)
        if found and Runs.of([found]).last != Runs.of([acknowledged]).last:
            raise self._stream.forked(f"offset {offset} holds another record than the one acknowledged")

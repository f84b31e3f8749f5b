"""The Redis backend's Reader: cursors, each with its own connection, and answers about sequencers."""

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import TypeVar

from common.values.clock import Clock
from common.values.ids import Offset, SequencerId
from writebuffer.checks import check_sequencer
from writebuffer.contract import Offsets, Size
from writebuffer.errors import Closed
from writebuffer.redis.cursor import RedisCursor
from writebuffer.redis.durability import MASTER_CHECK_S, check_master
from writebuffer.redis.link import Link, Lost, NotServing
from writebuffer.redis.scripts import TRIM
from writebuffer.redis.stream import RedisStream, look, run

_TRIM_RECORDS = 10_000
"""Removed in one call, which holds up the server for a few milliseconds."""

T = TypeVar("T")


class RedisReader:
    """Implements Reader, Trimmable and Measurable: a Redis is trimmed by who consumes it."""

    def __init__(
        self, streams: Sequence[RedisStream], connect: Callable[[bytes], Link], clock: Clock, url: str, replicas: int
    ) -> None:
        """connect: to the server that holds a key."""
        self._streams = streams
        self._connect = connect
        self._clock = clock
        self._url = url
        self._replicas = replicas
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._links: dict[SequencerId, tuple[Link, float]] = {}
        """Each with when it is looked again whether its server is the master."""
        self._asking: Link | None = None
        self._cursors: weakref.WeakSet[RedisCursor] = weakref.WeakSet()

    def sequencers(self) -> Sequence[SequencerId]:
        return [stream.sequencer for stream in self._streams]

    def cursor(self, sequencer: SequencerId) -> RedisCursor:
        stream = self._stream(sequencer)
        cursor = RedisCursor(
            stream, lambda: self._connect(stream.keys.records), self._clock, self._closed, self._replicas
        )
        with self._lock:
            self._cursors.add(cursor)
        return cursor

    def offsets(self, sequencer: SequencerId) -> Offsets:
        """Raises Unavailable, Forked, UnknownSequencer."""
        stream = self._stream(sequencer)
        return self._asked(stream, lambda link: look(link, stream).offsets)

    def identity(self, sequencer: SequencerId) -> str:
        """As it was when the reader was opened; every other call raises Forked once it is another."""
        return self._stream(sequencer).identity.decode()

    def size(self, sequencer: SequencerId) -> Size:
        """data_bytes: the records', those of the oldest batch counted whole. disk_bytes: of the server's memory."""
        stream = self._stream(sequencer)

        def measure(link: Link) -> Size:
            data_bytes = look(link, stream).data_bytes
            used = link.call(b"MEMORY", b"USAGE", stream.keys.records)
            return Size(data_bytes, used or 0)

        return self._asked(stream, measure)

    def trim(self, sequencer: SequencerId, before: Offset) -> Offset:
        """Removes exactly what lies below `before`, at most up to the next offset. Raises Unavailable, Forked."""
        stream = self._stream(sequencer)
        first_offset = self.offsets(sequencer).first_offset
        while first_offset < before:
            step = min(before, first_offset + _TRIM_RECORDS)
            left = Offset(self._asked(stream, lambda link, before=step: run(link, stream, TRIM, b"%d" % before)))  # type: ignore[misc]
            if left <= first_offset:
                break
            first_offset = left
        return first_offset

    def close(self) -> None:
        """Cursors raise Closed from now on, those that wait in a poll too, and a question or trim that is under way."""
        self._closed.set()
        if link := self._asking:
            link.interrupt()
        with self._lock:
            for cursor in self._cursors:
                cursor.interrupt()
            for link, _ in self._links.values():
                link.close()
            self._links.clear()

    def _asked(self, stream: RedisStream, ask: Callable[[Link], T]) -> T:
        """Ask over the kept connection; a lost one is made again once, since asking twice changes nothing."""
        with self._lock:
            self._check_open()
            kept, check_s = self._links.pop(stream.sequencer, (None, 0.0))
            if kept:
                try:
                    return self._keeping(stream, kept, check_s, ask)
                except (Lost, NotServing):
                    pass
            link = self._connect(stream.keys.records)
            return self._keeping(stream, link, self._clock.monotonic_s() + MASTER_CHECK_S, ask)

    def _keeping(self, stream: RedisStream, link: Link, check_s: float, ask: Callable[[Link], T]) -> T:
        """Keep the connection for the next question, if it still is one. From `check_s` on it may be to a replica."""
        self._asking = link
        try:
            now_s = self._clock.monotonic_s()
            if now_s >= check_s:
                check_master(link)
                check_s = now_s + MASTER_CHECK_S
            answer = ask(link)
        except BaseException:
            link.close()
            self._check_open()
            raise
        finally:
            self._asking = None
        self._links[stream.sequencer] = link, check_s
        return answer

    def _stream(self, sequencer: SequencerId) -> RedisStream:
        self._check_open()
        check_sequencer(sequencer, len(self._streams))
        return self._streams[sequencer]

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise Closed(f"{self._url}: the reader was closed")

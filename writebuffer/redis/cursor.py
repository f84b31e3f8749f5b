"""One independent reading position in one stream, with a connection of its own.

A poll is one blocking read: the server answers when a record comes. Ids are dense, so a missing record is noticed:
OffsetTrimmed where older records were removed, DataCorrupt where something is missing in between. With each read comes
the stream's identity, and after each connect the last record returned must still be there; otherwise it is Forked.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from common.values.clock import Clock
from common.values.errors import DataCorrupt, PenstockError
from common.values.ids import Offset
from writebuffer.checks import check_limits
from writebuffer.contract import Batch, SequencedRecord
from writebuffer.errors import Closed, OffsetInFuture, OffsetTrimmed
from writebuffer.record import RECORD_BYTES_MAX
from writebuffer.redis.commands import pack_time
from writebuffer.redis.durability import MASTER_CHECK_S, check_master
from writebuffer.redis.keys import entry_id
from writebuffer.redis.link import ANSWER_S, Link, Lost, NotServing
from writebuffer.redis.scripts import FIND_TIME
from writebuffer.redis.stream import RedisStream, batch_of, confirm_replicated, decoded, look, read_one
from writebuffer.waiting import Deadline

_READ_RECORDS_MAX = 64
"""Of one answer. All of them may have the greatest size: 64 MB."""
_BLOCK_S = 1.0
"""A read that waits is asked again each second: the server does not say when a stream it waits for is deleted."""
_TIME_PAGE = 1000
"""Batches looked at in one question."""
_TIME_RECORDS = 256
"""Records that one script call looks at; it holds up the server for a millisecond."""
_REPLICATED_S = 2.0


class RedisCursor:
    """Implements Cursor and SeekableByTime."""

    def __init__(
        self,
        stream: RedisStream,
        connect: Callable[[], Link],
        clock: Clock,
        reader_closed: threading.Event,
        replicas: int,
    ) -> None:
        """replicas: must have a record before it is returned, as they must before it is acknowledged."""
        self._stream = stream
        self._connect = connect
        self._clock = clock
        self._reader_closed = reader_closed
        self._replicas = replicas
        self._closed = False
        self._link: Link | None = None
        self._offset = Offset(0)
        self._last: SequencedRecord | None = None
        """The record before the cursor, where it was read."""
        self._replicated = Offset(0)
        """What is below it was on enough replicas of the server that is connected."""
        self._master_check_s = 0.0
        """When it is looked again whether that server is the master."""
        self._record_bytes = RECORD_BYTES_MAX / _READ_RECORDS_MAX
        """About so large are they here, to ask for no more than what will be returned."""
        self.seek_to_first()

    def seek(self, offset: Offset) -> None:
        with self._linked() as link:
            found = look(link, self._stream).offsets
        if offset < found.first_offset:
            raise OffsetTrimmed(self._stream.sequencer, offset, found.first_offset)
        if offset > found.next_offset:
            raise OffsetInFuture(self._stream.sequencer, offset, found.next_offset)
        self._move_to(offset)

    def seek_to_first(self) -> None:
        with self._linked() as link:
            self._move_to(look(link, self._stream).offsets.first_offset)

    def seek_to_next(self) -> None:
        with self._linked() as link:
            self._move_to(look(link, self._stream).offsets.next_offset)

    def seek_to_time(self, time_ns: int) -> None:
        """The server looks through its list of batches, and through the records of those that may hold it."""
        with self._linked() as link:
            self._move_to(self._find_time(link, time_ns))

    def poll(self, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        """Notices within a second or two that records or the stream are gone, within six that the server is."""
        check_limits(max_records, max_bytes)
        deadline = Deadline(timeout_s, self._clock)
        records: list[SequencedRecord] = []
        while not records:
            left_s = deadline.left_s()
            records = self._read(max_records, max_bytes, left_s)
            if left_s <= 0:
                break
        room = max_bytes - sum(len(one.record) for one in records)
        while records and len(records) < max_records and room > 0:
            try:
                more = self._read(max_records - len(records), room, 0.0, at_least_one=False)
            except PenstockError:
                break  # the next poll meets it again, and raises it
            records += more
            room -= sum(len(one.record) for one in more)
            if not more:
                break
        return Batch(records, self._offset)

    def interrupt(self) -> None:
        """Wake a poll that waits, from another thread."""
        if link := self._link:
            link.interrupt()

    def close(self) -> None:
        self._closed = True
        self._drop_link()

    def _move_to(self, offset: Offset) -> None:
        if self._last and offset != self._last.offset + 1:
            self._last = None
        self._offset = offset

    def _read(
        self, max_records: int, max_bytes: int, wait_s: float, *, at_least_one: bool = True
    ) -> list[SequencedRecord]:
        """One question to the server; moves the cursor past what it returns."""
        with self._linked() as link:
            entries, next_offset = self._ask(link, self._count(max_records, max_bytes), min(wait_s, _BLOCK_S))
            if not entries:
                self._check_missing(link, next_offset)
                return []
            records = self._decoded(link, entries, max_bytes, at_least_one)
            if records and self._replicas and records[-1].offset >= self._replicated:
                confirm_replicated(link, self._stream, self._replicas, _REPLICATED_S)
                self._replicated = Offset(next_offset)
        if records:
            self._last = records[-1]
            self._offset = Offset(records[-1].offset + 1)
            self._record_bytes = max(1.0, sum(len(one.record) for one in records) / len(records))
        return records

    def _count(self, max_records: int, max_bytes: int) -> int:
        return max(1, min(max_records, _READ_RECORDS_MAX, int(max_bytes / self._record_bytes) + 1))

    def _ask(self, link: Link, count: int, block_s: float) -> tuple[list[Any], int]:
        """Entries from the cursor on, and the next offset. Raises Forked."""
        read = [b"XREAD", b"COUNT", b"%d" % count]
        if block_s > 0:
            read += [b"BLOCK", b"%d" % max(1, round(block_s * 1000))]
        read += [b"STREAMS", self._stream.keys.records, entry_id(self._offset - 1)]
        state = (b"HMGET", self._stream.keys.state, b"identity", b"next")
        found, (identity, next_text) = link.call_all(read, state, timeout_s=block_s + ANSWER_S)
        if identity != self._stream.identity:
            raise self._stream.another(identity)
        if int(next_text) < self._offset:
            raise self._stream.forked(f"offsets below {self._offset} were read, found next {int(next_text)}")
        return (found[0][1] if found else []), int(next_text)

    def _decoded(self, link: Link, entries: list[Any], room: int, at_least_one: bool) -> list[SequencedRecord]:
        records: list[SequencedRecord] = []
        for offset, (entry, fields) in enumerate(entries, self._offset):
            if entry != entry_id(offset):
                if not records:
                    raise self._missing(link, f"entry {entry.decode()}")
                break
            try:
                record = decoded(self._stream, Offset(offset), fields)
            except DataCorrupt:
                if not records:
                    raise
                break
            room -= len(record)
            if room < 0 and (records or not at_least_one):
                break
            records.append(SequencedRecord(Offset(offset), record))
        return records

    def _check_missing(self, link: Link, next_offset: int) -> None:
        """Nothing came. Raises OffsetTrimmed or DataCorrupt where `next_offset` says that something should have."""
        if next_offset <= self._offset:
            return
        start = entry_id(self._offset)
        if not link.call(b"XRANGE", self._stream.keys.records, start, b"+", b"COUNT", b"1"):  # nor since the first read
            raise self._missing(link, "nothing")

    def _missing(self, link: Link, found: str) -> PenstockError:
        first_offset = look(link, self._stream).offsets.first_offset
        if self._offset < first_offset:
            return OffsetTrimmed(self._stream.sequencer, self._offset, first_offset)
        return self._stream.corrupt(
            self._offset,
            f"the record is missing, but older ones are there, and after it comes {found}; somebody removed it. "
            "Restore it from a copy, or seek past it and count what is missing",
        )

    def _find_time(self, link: Link, time_ns: int) -> Offset:
        found = look(link, self._stream).offsets
        offset = found.first_offset
        for first_offset, end_offset, greatest_ns in self._batches(link, offset, found.next_offset):
            offset = max(offset, first_offset)
            while greatest_ns >= time_ns and offset < end_offset:
                arguments = (b"%d" % offset, b"%d" % end_offset, pack_time(time_ns), b"%d" % _TIME_RECORDS)
                hit, at = link.run(FIND_TIME, self._stream.keys, *arguments)
                if hit:
                    return Offset(at)
                offset = Offset(at)
        return found.next_offset

    def _batches(self, link: Link, first_offset: Offset, next_offset: Offset) -> Iterator[tuple[Offset, Offset, int]]:
        """First and end offset of each batch from the one with `first_offset`, and its greatest append time."""
        key = self._stream.keys.batches
        start = link.call(b"XREVRANGE", key, entry_id(first_offset), b"-", b"COUNT", b"1")
        after = start[0][0] if start else entry_id(first_offset)
        previous: tuple[Offset, int] | None = None
        while page := link.call(b"XRANGE", key, after, b"+", b"COUNT", b"%d" % _TIME_PAGE):
            for entry, fields in page:
                begins, greatest_ns = batch_of(self._stream, entry, fields)
                if previous:
                    yield previous[0], begins, previous[1]
                previous = begins, greatest_ns
            after = b"(" + page[-1][0]
        if previous:
            yield previous[0], next_offset, previous[1]

    @contextmanager
    def _linked(self) -> Iterator[Link]:
        """A connection to ask. After an error the cursor stays where it was, and the next call connects again."""
        self._check_open()
        try:
            yield self._checked_link(self._link) if self._link else self._open_link()
        except (Lost, NotServing):
            self._drop_link()
            self._check_open()
            raise

    def _checked_link(self, link: Link) -> Link:
        """A master that was demoted by hand goes on answering reads, with what is or was another's."""
        now_s = self._clock.monotonic_s()
        if now_s >= self._master_check_s:
            check_master(link)
            self._master_check_s = now_s + MASTER_CHECK_S
        return link

    def _open_link(self) -> Link:
        link = self._connect()
        try:
            if self._last and (found := read_one(link, self._stream, self._last.offset)) not in (
                None,
                self._last.record,
            ):
                raise self._stream.forked(
                    f"offset {self._last.offset} holds another record than was read there: {found!r}"
                )
        except BaseException:
            link.close()
            raise
        self._link = link
        self._replicated = Offset(0)
        self._master_check_s = self._clock.monotonic_s() + MASTER_CHECK_S
        if self._reader_closed.is_set():
            link.interrupt()
        return link

    def _drop_link(self) -> None:
        link, self._link = self._link, None
        if link:
            link.close()

    def _check_open(self) -> None:
        if self._closed or self._reader_closed.is_set():
            raise Closed(f"{self._stream}: the cursor or its reader was closed")

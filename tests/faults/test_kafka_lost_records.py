"""A Kafka that came back without records it had acknowledged: their readers and writers get errors."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from common.values.errors import Forked, Unavailable
from common.values.ids import Offset, SequencerId
from tests.support.buffer_records import numbers, read_from, record, records
from tests.support.kafka_server import KafkaServer
from tests.support.wait import wait_until
from writebuffer.contract import Cursor
from writebuffer.kafka import KafkaBackend
from writebuffer.kafka.reader import KafkaReader
from writebuffer.kafka.writer import KafkaWriter

ONE = SequencerId(0)
EVERYTHING = (10_000, 2**30)


def test_records_lost_by_the_cluster_are_seen_by_who_had_them(broker: KafkaServer) -> None:
    """Cursors and writers that were there before get Forked, wherever the new records end.

    Others go on: those of a topic that lost nothing, and a cursor whose last record was trimmed meanwhile.
    """
    names = ("shorter", "longer", "reading", "untouched", "cut")
    shorter, longer, reading, untouched, trimmed = backends = [_made(broker, name) for name in names]
    for backend in backends:
        _append(backend, range(2))
    broker.keep_data()
    cursors = {backend: _at(backend, 2) for backend in (longer, reading)}
    writers = {backend: backend.open_writer() for backend in (shorter, longer)}
    writers[shorter].append_many(ONE, records(range(2, 6))).result(20)
    writers[longer].append_many(ONE, records(range(2, 6))).result(20)
    _append(reading, range(2, 6))
    going_on, still_writing = _at(untouched, 2), untouched.open_writer()
    for cursor in cursors.values():
        assert len(read_from(cursor, 4)) == 4
    past_trimmed, trimming = _at(trimmed, 2), trimmed.open_reader()
    broker.put_data_back()
    wait_until(lambda: _trimmed(trimming), timeout_s=30)
    for backend in (longer, reading):
        _append(backend, range(100, 108))
    with ThreadPoolExecutor(4) as threads:
        found = [threads.submit(_polled, cursors[longer]), threads.submit(_polled, cursors[reading])]
        found += [threads.submit(_appended, writers[shorter]), threads.submit(_appended, writers[longer])]
        errors = [future.exception(60) for future in found]
    assert [type(error) for error in errors] == [Forked] * 4, errors
    assert "checksum" in str(errors[0])
    still_writing.append(ONE, record(2)).result(30)
    _append(trimmed, range(2, 4))
    assert numbers(one for _, one in read_from(going_on, 1, 20)) == [2]
    assert wait_until(lambda: _numbers_or_nothing(past_trimmed), timeout_s=30) == [2, 3]
    for writer in (*writers.values(), still_writing):
        writer.close()


def _made(broker: KafkaServer, topic: str) -> KafkaBackend:
    backend = KafkaBackend.from_url(f"{broker.url}/{topic}")
    backend.create(1)
    return backend


def _append(backend: KafkaBackend, which: range) -> None:
    writer = backend.open_writer()
    writer.append_many(ONE, records(which)).result(20)
    writer.close()


def _at(backend: KafkaBackend, offset: int) -> Cursor:
    cursor = backend.open_reader().cursor(ONE)
    assert len(read_from(cursor, offset)) == offset
    return cursor


def _polled(cursor: Cursor) -> None:
    """Polls until something comes, or another error than Unavailable; nothing may come."""
    wait_until(lambda: _numbers_or_nothing(cursor), timeout_s=40, holds=_fail_on_records)


def _appended(writer: KafkaWriter) -> None:
    """The first append that does not end in Unavailable."""
    future: Future[Any] = wait_until(
        lambda: writer.append(ONE, record(6)), timeout_s=40, holds=lambda one: not _is_away(one.exception(40))
    )
    future.result()


def _numbers_or_nothing(cursor: Cursor) -> list[int]:
    try:
        return numbers(one.record for one in cursor.poll(*EVERYTHING, 0.2).records)
    except Unavailable:
        return []


def _trimmed(reader: KafkaReader) -> int:
    try:
        return reader.trim(ONE, Offset(2))
    except Unavailable:
        return 0


def _is_away(error: BaseException | None) -> bool:
    return isinstance(error, Unavailable)


def _fail_on_records(found: list[int]) -> bool:
    assert not found, f"records after others that were lost: {found}"
    return False

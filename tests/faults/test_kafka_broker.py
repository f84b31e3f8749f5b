"""A Kafka broker that dies or hangs: nothing acknowledged is lost, nothing hangs, reasons are reported."""

import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from common.values.errors import Unavailable
from common.values.ids import Offset, SequencerId
from tests.support import kafka_server
from tests.support.buffer_records import numbers, read_all, read_from, record, records
from tests.support.campaign import campaign, rounds
from tests.support.kafka_load import Load, check_nothing_lost
from tests.support.kafka_server import KafkaServer
from tests.support.ports import free_ports
from tests.support.wait import wait_until
from writebuffer.errors import Closed
from writebuffer.kafka import KafkaBackend
from writebuffer.kafka.writer import KafkaWriter

ONE = SequencerId(0)
EVERYTHING = (10_000, 2**30)


def made(server: KafkaServer, topic: str, query: str = "") -> KafkaBackend:
    backend = KafkaBackend.from_url(f"{server.url}/{topic}{query}")
    backend.create(1)
    return backend


def test_a_broker_killed_under_load_loses_nothing_acknowledged(broker: KafkaServer) -> None:
    """Writer and cursor go on by themselves once it is there again; the cursor sees each record once and in order.

    Each client (producer, consumer, and the one that asks about the topic) logs the outage once, and its end.
    """
    backend = made(broker, "killed")
    writer, reader = backend.open_writer(), backend.open_reader()
    cursor = reader.cursor(ONE)
    with capture_logs() as lines, Load(writer) as load:
        load.await_more(50, timeout_s=20)
        found = read_from(cursor, 50)
        broker.kill()
        with suppress(Unavailable):
            while batch := cursor.poll(*EVERYTHING, 20).records:
                found += [(one.offset, one.record) for one in batch]
        broker.start()
        load.await_more(50, timeout_s=40)
    writer.flush(30)
    check_nothing_lost(load, backend)
    next_offset = reader.offsets(ONE).next_offset
    found += read_from(cursor, next_offset - len(found), 30)
    assert [offset for offset, _ in found] == list(range(next_offset))
    logged = [line for line in lines if line["event"] == "librdkafka" and line["log_level"] != "debug"]
    assert 1 <= len(logged) <= 3, logged
    assert any(line["event"] == "the broker answers again" for line in lines)
    writer.close()
    reader.close()


def test_a_trim_survives_the_brokers_death_or_is_made_again(broker: KafkaServer) -> None:
    """After a crash the first offset may have moved back; no record has changed, and the next trim is as good."""
    backend = made(broker, "trimmed")
    writer, reader = backend.open_writer(), backend.open_reader()
    writer.append_many(ONE, records(range(10))).result(20)
    assert reader.trim(ONE, Offset(6)) == 6
    broker.kill()
    broker.start()
    first_offset = wait_until(lambda: reader.offsets(ONE)).first_offset
    assert first_offset <= 6
    assert numbers(one for _, one in read_all(backend)) == list(range(first_offset, 10))
    assert reader.trim(ONE, Offset(6)) == 6
    writer.close()
    reader.close()


def test_a_broker_that_hangs_is_unavailable_within_seconds(broker: KafkaServer) -> None:
    """Polls, also those at the end, and questions raise Unavailable; once it goes on, so do cursor and writer."""
    backend = made(broker, "paused")
    writer, reader = backend.open_writer(), backend.open_reader()
    writer.append(ONE, record(0)).result(20)
    cursor = reader.cursor(ONE)
    fresh = reader.cursor(ONE)
    assert len(read_from(cursor, 1)) == 1
    broker.pause()
    try:
        started_s = time.monotonic()
        with ThreadPoolExecutor(3) as threads:
            asked: list[Future[Any]] = [threads.submit(cursor.poll, *EVERYTHING, 60)]
            asked += [threads.submit(fresh.poll, *EVERYTHING, 0), threads.submit(reader.offsets, ONE)]
            errors = [future.exception(30) for future in asked]
        assert [type(error) for error in errors] == [Unavailable] * 3
        assert time.monotonic() - started_s < 15
        held_back = writer.append(ONE, record(1))
        assert not wait([held_back], 0.2).done
    finally:
        broker.resume()
    assert held_back.result(30).offset == 1
    assert numbers(one for _, one in read_from(cursor, 1, 20)) == [1]
    writer.close()
    reader.close()


def test_an_append_that_gets_no_answer_in_time_is_unknown(broker: KafkaServer) -> None:
    """delivery.timeout.ms bounds it; later appends of the same writer succeed, and keep their order."""
    backend = made(broker, "late", "?delivery.timeout.ms=1500&request.timeout.ms=1000")
    writer = backend.open_writer()
    writer.append(ONE, record(0)).result(20)
    broker.pause()
    try:
        errors = [future.exception(20) for future in [writer.append(ONE, record(number)) for number in (1, 2)]]
    finally:
        broker.resume()
    assert [(type(error), getattr(error, "written", None)) for error in errors] == [(Unavailable, "unknown")] * 2
    later = [wait_until(partial(_appended, writer, number), timeout_s=40) for number in range(3, 6)]
    assert later == sorted(later)
    found = numbers(one for _, one in read_all(backend))
    assert [number for number in found if number >= 3] == [3, 4, 5]
    writer.close()


def test_closing_over_a_dead_broker_ends_and_says_unknown(broker: KafkaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be delivered fails; the cursor's wait ends, and every thread of either, librdkafka's too."""
    idle = _threads()
    backend = made(broker, "closing")
    writer, reader = backend.open_writer(), backend.open_reader()
    writer.append(ONE, record(0)).result(20)
    cursor = reader.cursor(ONE)
    monkeypatch.setattr("writebuffer.kafka.writer.CLOSE_S", 0.5)
    broker.kill()
    try:
        left = writer.append(ONE, record(1))
        writer.close()
        error = left.exception(0)
        assert isinstance(error, Unavailable)
        assert error.written == "unknown"
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(cursor.poll, *EVERYTHING, 60)
            reader.close()
            assert isinstance(waiting.exception(5), Closed | Unavailable)
        del waiting, cursor
        wait_until(_threads, holds=lambda now: now <= idle, what="no more threads than before")
    finally:
        broker.start()


def test_with_the_last_reader_and_writer_every_thread_ends(broker: KafkaServer) -> None:
    """The backend is still there, and can be opened again."""
    idle = _threads()
    backend = made(broker, "threads")
    assert _threads() <= idle
    for _ in range(2):
        writer, reader = backend.open_writer(), backend.open_reader()
        writer.append(ONE, record(0)).result(20)
        cursor = reader.cursor(ONE)
        assert read_from(cursor, 1)
        writer.close()
        assert reader.offsets(ONE).next_offset
        reader.close()
        wait_until(_threads, holds=lambda now: now <= idle, what="no more threads than before")


def test_no_broker_at_all_is_unavailable_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within seconds, for every call; the message holds the connection's error."""
    monkeypatch.setattr("writebuffer.kafka.cluster.ANSWER_S", 1.5)
    (port,) = free_ports(1)
    backend = KafkaBackend.from_url(f"kafka://127.0.0.1:{port}/topic")
    with ThreadPoolExecutor(2) as threads:
        asked = list(map(threads.submit, (backend.open_reader, backend.open_writer)))
        errors = [future.exception(20) for future in asked]
    assert [type(error) for error in errors] == [Unavailable] * 2
    assert all("refused" in str(error) for error in errors)


@campaign
def test_a_broker_killed_again_and_again_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """Each time under load, each time started again on the same data."""
    if reason := kafka_server.why_not():
        pytest.skip(reason)
    server = KafkaServer(tmp_path)
    server.start()
    try:
        backend = made(server, "again")
        writer = backend.open_writer()
        with Load(writer) as load:
            for _ in range(rounds(20)):
                load.await_more(50, timeout_s=60)
                server.kill()
                server.start()
        writer.flush(60)
        writer.close()
        check_nothing_lost(load, backend)
    finally:
        server.stop()


def _appended(writer: KafkaWriter, number: int) -> int:
    """Its offset + 1. Only what succeeds counts; the broker may still be catching up."""
    future = writer.append(ONE, record(number))
    return future.result(20).offset + 1 if future.exception(20) is None else 0


def _threads() -> Counter[str]:
    """Of the writers and of librdkafka's clients, by name. A Counter: one is at most another if none is more."""
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    return Counter(name.split(":")[0] for name in names if name.startswith(("rdk:", "kafka-")))

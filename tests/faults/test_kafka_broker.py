"""A Kafka broker that dies, hangs, or lets nobody in: nothing acknowledged is lost, nothing hangs, reasons are told."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException

from common.errors import Misconfigured, Unavailable
from common.ids import Offset, SequencerId
from tests.support import kafka_server
from tests.support.buffer_records import numbers, read_all, read_from, record, records
from tests.support.campaign import campaign, rounds
from tests.support.kafka_server import KafkaServer, three_brokers
from tests.support.ports import free_ports
from tests.support.wait import wait_until
from writebuffer.errors import Closed
from writebuffer.kafka import KafkaBackend
from writebuffer.kafka.writer import KafkaWriter

ONE = SequencerId(0)
EVERYTHING = (10_000, 2**30)
JAAS = "org.apache.kafka.common.security.plain.PlainLoginModule required"
USERS = 'username="broker" password="b" user_broker="b" user_penstock="hush"'
SASL = (
    "sasl.enabled.mechanisms=PLAIN",
    "sasl.mechanism.inter.broker.protocol=PLAIN",
    f"listener.name.sasl_plaintext.plain.sasl.jaas.config={JAAS} {USERS};",
)
CLIENT = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "penstock"}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    if reason := kafka_server.why_not():
        pytest.skip(reason)
    server = KafkaServer(tmp_path_factory.mktemp("broker"))
    server.start()
    yield server
    server.resume()
    server.stop()


def made(server: KafkaServer, topic: str, query: str = "") -> KafkaBackend:
    backend = KafkaBackend.from_url(f"{server.url}/{topic}{query}")
    backend.create(1)
    return backend


class Load:
    """Appends numbers until stopped, at most so many at a time; keeps what was acknowledged and what failed."""

    def __init__(self, writer: KafkaWriter, at_a_time: int = 20) -> None:
        self.acknowledged: dict[int, int] = {}
        self.failed: list[BaseException] = []
        self._writer = writer
        self._room = threading.Semaphore(at_a_time)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def has(self, count: int) -> bool:
        return len(self.acknowledged) > count

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            if self._room.acquire(timeout=0.1):
                self._writer.append(ONE, record(number)).add_done_callback(self._noter(number))
                number += 1

    def _noter(self, number: int) -> Any:
        def note(future: "Future[Any]") -> None:
            if error := future.exception():
                self.failed.append(error)
            else:
                self.acknowledged[number] = future.result().offset
            self._room.release()

        return note


def check_nothing_lost(load: Load, backend: KafkaBackend) -> None:
    """Every acknowledged record stands at the offset that was told, those in the order of the appends.

    One that was sent again over the broker's death may stand twice, with the same producer sequence.
    """
    found = read_all(backend)
    at = {offset: one.headers.producer_sequence for offset, one in found}
    assert all(at.get(offset) == number for number, offset in load.acknowledged.items())
    told = sorted(load.acknowledged.items(), key=lambda item: item[1])
    assert [number for number, _ in told] == sorted(load.acknowledged)


def test_a_broker_killed_under_load_loses_nothing_acknowledged(broker: KafkaServer) -> None:
    """Writer and cursor go on by themselves once it is there again; the cursor sees each record once and in order."""
    backend = made(broker, "killed")
    writer, reader = backend.open_writer(), backend.open_reader()
    cursor = reader.reader(ONE)
    with Load(writer) as load:
        wait_until(lambda: len(load.acknowledged) > 50)
        broker.kill()
        before = len(load.acknowledged)
        broker.start()
        wait_until(lambda: len(load.acknowledged) > before + 50, timeout_s=40)
    writer.flush(30)
    writer.close()
    check_nothing_lost(load, backend)
    next_offset = reader.offsets(ONE).next_offset
    found = read_from(cursor, next_offset)
    assert [offset for offset, _ in found] == list(range(next_offset))
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
    cursor = reader.reader(ONE)
    fresh = reader.reader(ONE)
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
    """delivery.timeout.ms bounds it; later appends of the same writer are taken, and keep their order."""
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
    """What cannot be delivered fails; the writer's thread and the cursor's wait end."""
    backend = made(broker, "closing")
    writer, reader = backend.open_writer(), backend.open_reader()
    writer.append(ONE, record(0)).result(20)
    cursor = reader.reader(ONE)
    monkeypatch.setattr("writebuffer.kafka.writer._CLOSE_S", 0.5)
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
        assert not [one for one in threading.enumerate() if one.name == "kafka-closing"]
    finally:
        broker.start()


def test_no_broker_at_all_is_unavailable_with_the_reason() -> None:
    """Within seconds, for whatever is asked; the message holds what the connection met."""
    (port,) = free_ports(1)
    backend = KafkaBackend.from_url(f"kafka://127.0.0.1:{port}/topic")
    with ThreadPoolExecutor(2) as threads:
        errors = [future.exception(20) for future in map(threads.submit, (backend.open_reader, backend.open_writer))]
    assert [type(error) for error in errors] == [Unavailable] * 2
    assert all("refused" in str(error) for error in errors)


def test_a_password_is_asked_for_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SASL by properties of the URL, the password from the environment; a wrong one is Misconfigured."""
    if reason := kafka_server.why_not():
        pytest.skip(reason)
    client = {**CLIENT, "sasl.password": "hush"}
    server = KafkaServer(tmp_path, *SASL, listener="SASL_PLAINTEXT", client=client)
    server.start()
    query = "?" + "&".join(f"{name}={value}" for name, value in CLIENT.items())
    try:
        monkeypatch.setenv("KAFKA_PASSWORD", "hush")
        backend = made(server, "sasl", f"{query}&sasl.password=env:KAFKA_PASSWORD")
        writer = backend.open_writer()
        assert writer.append(ONE, record(0)).result(20).offset == 0
        writer.close()
        assert numbers(one for _, one in read_all(KafkaBackend.from_url(backend.url))) == [0]
        with pytest.raises(Misconfigured, match=r"sasl\.password"):
            KafkaBackend.from_url(f"{server.url}/sasl{query}&sasl.password=wrong").open_reader()
    finally:
        server.stop()


@campaign
def test_one_of_three_brokers_killed_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """With three replicas, two in sync, the appends go on over each death."""
    if reason := kafka_server.why_not():
        pytest.skip(reason)
    servers = three_brokers(tmp_path)
    for server in servers:
        server.begin()
    try:
        wait_until(lambda: _brokers(servers[0]) == 3, timeout_s=60)
        hosts = ",".join(server.bootstrap for server in servers)
        backend = KafkaBackend.from_url(f"kafka://{hosts}/three")
        backend.create(1)
        writer = backend.open_writer()
        assert "at least 2 of 3 replicas" in writer.durability()
        with Load(writer) as load:
            for round_ in range(rounds(6)):
                victim = servers[round_ % 3]
                before = len(load.acknowledged)
                victim.kill()
                wait_until(partial(load.has, before + 50), timeout_s=60)
                victim.start()
                wait_until(lambda: _brokers(servers[0]) == 3, timeout_s=60)
        writer.flush(60)
        writer.close()
        check_nothing_lost(load, backend)
    finally:
        for server in servers:
            server.kill()  # the last one would wait for a majority to let it go


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
                before = len(load.acknowledged)
                wait_until(partial(load.has, before + 50), timeout_s=60)
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


def _brokers(server: KafkaServer) -> int:
    try:
        return server.brokers()
    except KafkaException:
        return 0

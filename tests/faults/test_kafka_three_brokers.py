"""One Kafka broker of three that dies or hangs: those that are left serve everybody."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import KafkaException

from common.values.errors import Unavailable
from common.values.ids import Offset, SequencerId
from tests.support import kafka_server
from tests.support.campaign import campaign, rounds
from tests.support.kafka_load import Load, check_nothing_lost
from tests.support.kafka_server import KafkaServer, three_brokers
from tests.support.wait import wait_until
from writebuffer.contract import Cursor
from writebuffer.kafka import KafkaBackend
from writebuffer.kafka.reader import KafkaReader

ONE = SequencerId(0)
EVERYTHING = (10_000, 2**30)


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[list[KafkaServer]]:
    """Three, all there."""
    if reason := kafka_server.why_not():
        pytest.skip(reason)
    servers = three_brokers(tmp_path)
    for server in servers:
        server.begin()
    try:
        wait_until(lambda: _brokers(servers[0]) == 3, timeout_s=60)
        yield servers
    finally:
        for server in servers:
            server.resume()
            server.kill()  # the last one would wait for a majority to let it go


def made(servers: list[KafkaServer], topic: str, sequencers: int = 1) -> KafkaBackend:
    hosts = ",".join(server.bootstrap for server in servers)
    backend = KafkaBackend.from_url(f"kafka://{hosts}/{topic}")
    backend.create(sequencers)
    return backend


@campaign
def test_one_of_three_brokers_killed_loses_nothing_acknowledged(brokers: list[KafkaServer]) -> None:
    """With three replicas, two in sync, the appends go on over each death: one at a time, the others in sync."""
    backend = made(brokers, "three")
    writer = backend.open_writer()
    assert "at least 2 of 3 replicas" in writer.durability()
    with Load(writer) as load:
        for round_ in range(rounds(6)):
            victim = brokers[round_ % 3]
            _await_in_sync(brokers, "three")
            victim.kill()
            load.await_more(50, timeout_s=60, what=f"round {round_}: appends go on")
            victim.start()
    writer.flush(60)
    writer.close()
    check_nothing_lost(load, backend)


@campaign
def test_one_of_three_brokers_that_hangs_stops_nobody(brokers: list[KafkaServer]) -> None:
    """With any of the three: appends, polls and questions go on within seconds, and nothing acknowledged is lost."""
    backend = made(brokers, "hung")
    for victim in brokers:
        writer, reader = backend.open_writer(), backend.open_reader()
        cursor = reader.cursor(ONE)
        cursor.seek_to_next()
        with Load(writer, 5) as load:
            load.await_more(50, timeout_s=30)
            _await_in_sync(brokers, "hung")
            victim.pause()
            load.await_more(500, timeout_s=40, what="appends go on")
            started_s = time.monotonic()
            load.await_more(500, timeout_s=20, what="appends go on at once")
            wait_until(partial(_next_offset, reader), timeout_s=20, what="questions are answered")
            seen = wait_until(partial(_polled, cursor), timeout_s=20, what="records are read")
            assert time.monotonic() - started_s < 20
            assert wait_until(partial(_polled, cursor), timeout_s=5)[0] > seen[-1]
            newest = Offset(max(load.acknowledged.values()) + 1)
            victim.resume()
            _seek_through(victim, "hung", newest)
        writer.flush(60)
        writer.close()
        reader.close()
        check_nothing_lost(load, backend)


def _await_in_sync(brokers: list[KafkaServer], topic: str) -> None:
    """Until each of them has heard that all three are in sync: one that has just started knows the newest state.

    A replica that is back catches up first. Before, another death would leave one in sync: no append is acknowledged
    then, and when that one dies too, its partition waits for it.
    """
    wait_until(
        lambda: [_in_sync(server, topic) for server in brokers],
        holds=lambda counts: counts == [3, 3, 3],
        timeout_s=60,
        what="every broker says that three replicas are in sync",
    )


def _in_sync(server: KafkaServer, topic: str) -> int:
    try:
        return server.in_sync(topic)
    except KafkaException:
        return 0


def _seek_through(broker: KafkaServer, topic: str, known: Offset) -> None:
    """A client that knows only the broker that is back, and may be told its old end, is not told of lost records."""
    reader = KafkaBackend.from_url(f"kafka://{broker.bootstrap}/{topic}").open_reader()
    reader.cursor(ONE).seek(known)
    reader.close()


def _polled(cursor: Cursor) -> list[int]:
    try:
        return [one.offset for one in cursor.poll(*EVERYTHING, 0.2).records]
    except Unavailable:
        return []


def _next_offset(reader: KafkaReader) -> int:
    try:
        return reader.offsets(ONE).next_offset
    except Unavailable:
        return 0


def _brokers(server: KafkaServer) -> int:
    try:
        return server.brokers()
    except KafkaException:
        return 0

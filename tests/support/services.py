"""Real servers for tests: one Redis and one Kafka for a whole run, started by the first test that asks.

A pytest plugin, loaded by tests/conftest.py. Where a server is not installed the test is skipped with the way to get it
(`make services`), which not_run.py makes loud, and in CI a failure. Each test uses streams or topics of its own. Tests
that kill a server start their own (redis_server.RedisServer, kafka_server.KafkaServer).
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from tests.support import kafka_server, redis_server
from tests.support.kafka_server import KafkaServer
from tests.support.redis_server import RedisServer


class Server(Protocol):
    """A server that a test may kill. buffer_url: of a write buffer on it that is not made yet."""

    url: str

    @property
    def buffer_url(self) -> str: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...


@contextmanager
def killable_server(name: str, folder: Path) -> Iterator[Server]:
    """A server of its own for one test: `redis` (appendonly, appendfsync always) or `kafka` (one broker)."""
    module = {"redis": redis_server, "kafka": kafka_server}[name]
    if reason := module.why_not():
        pytest.skip(reason)
    place = folder / name
    place.mkdir()
    server: Server = RedisServer(place) if name == "redis" else KafkaServer(place)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """redis://127.0.0.1:PORT/0 of a server with appendonly and appendfsync always."""
    with killable_server("redis", tmp_path_factory.mktemp("services")) as server:
        yield server.url


@pytest.fixture(scope="session")
def kafka_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """kafka://127.0.0.1:PORT of a broker with one node, without a topic: tests append /NAME."""
    with killable_server("kafka", tmp_path_factory.mktemp("services")) as server:
        yield server.url


@pytest.fixture
def redis_stream(redis_url: str) -> str:
    """The URL of a write buffer in Redis that nobody else uses; not made yet."""
    return f"{redis_url}?stream={uuid.uuid4().hex}"


@pytest.fixture
def kafka_topic(kafka_url: str) -> str:
    """The URL of a write buffer in Kafka that nobody else uses; not made yet."""
    return f"{kafka_url}/{uuid.uuid4().hex}"

"""A write buffer on a Redis that the test owns, and what most tests of it do."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.values.errors import Unavailable
from common.values.ids import SequencerId
from tests.support import redis_server
from tests.support.buffer_records import record
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until
from writebuffer.contract import Cursor, Writer
from writebuffer.record import Record
from writebuffer.redis import RedisBackend
from writebuffer.redis.keys import Keys

ONE = SequencerId(0)
KEYS = Keys.of("penstock", ONE)


@contextmanager
def own_server(folder: Path, *options: str) -> Iterator[RedisServer]:
    """A server for one test, its data in `folder`."""
    if reason := redis_server.why_not():
        pytest.skip(reason)
    folder.mkdir(exist_ok=True)
    server = RedisServer(folder, *options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def following(master: RedisServer) -> tuple[str, ...]:
    """The options of a replica of `master`."""
    return "--replicaof", f"127.0.0.1 {master.port}"


def wait_for_replica(master: RedisServer) -> None:
    """Until `master` has one that follows."""

    def state() -> object:
        return client.info("replication").get("slave0", {}).get("state")

    with master.client() as client:
        wait_until(state, holds=lambda found: found == "online", what="the replica is online")


def made(url: str, sequencers: int = 1) -> RedisBackend:
    backend = RedisBackend.from_url(url)
    backend.create(sequencers)
    return backend


def append(writer: Writer, numbers: Sequence[int], sequencer: int = 0) -> list[int]:
    """The records of those numbers, each awaited before the next; their offsets."""
    return [writer.append(SequencerId(sequencer), record(number)).result(30).offset for number in numbers]


def until_appended(writer: Writer, number: int) -> int:
    """The record of that number, sent again while the buffer is Unavailable; its offset."""

    def offset() -> int | None:
        try:
            return writer.append(ONE, record(number)).result(30).offset
        except Unavailable:
            return None

    found = wait_until(offset, holds=lambda one: one is not None, what=f"record {number} is appended")
    assert found is not None
    return found


def polled(cursor: Cursor, timeout_s: float = 0) -> list[int]:
    return [one.offset for one in cursor.poll(10_000, 2**30, timeout_s).records]


def sized(number: int, total_bytes: int) -> Record:
    """The record of that number, with so many bytes in all."""
    block = record(number).header_block
    return Record(block, bytes(total_bytes - len(block)))

"""What a router answers while its buffer or store is away, slow or broken, by real requests on a real port."""

import errno
import json
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from threading import Event
from typing import Any

import pytest

from common.store.cloud import CloudStore
from common.values.errors import Unavailable
from common.values.ids import SequencerId
from router.parsing.batch import BatchParser
from tests.support.router_fixtures import StartRouter, error_of
from tests.support.wait import wait_until
from writebuffer.contract import AppendedRange
from writebuffer.errors import WriterDied
from writebuffer.memory import MemoryWriter
from writebuffer.record import Record


def test_a_write_that_is_not_durable_in_time_is_503(start_router: StartRouter) -> None:
    """While the buffer holds its acknowledgement back the client waits, then gets 503; the next write is fine."""
    router = start_router(append_timeout_s=0.1)
    router.backend.hold()
    response, content = router.write(b"m f=1 1")
    assert error_of((response, content)) == (503, "unavailable")
    assert router.admission.bytes_held == len(b"m f=1 1")
    router.backend.release()
    assert router.write(b"m f=2 2")[0].status == 204


def test_a_write_that_waits_for_others_is_answered_in_its_own_time(
    start_router: StartRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a parse takes for ever its request and those that collect after it are 503 at the timeout, counted from
    their arrival; then the parse is given up, and the next write is fine."""
    go, real = Event(), BatchParser.parse

    def parse(self: BatchParser, namespace: str, *more: Any) -> object:
        if namespace == "slow":
            assert go.wait(20)
        return real(self, namespace, *more)

    monkeypatch.setattr(BatchParser, "parse", parse)
    router = start_router(append_timeout_s=0.3)
    results: list[int] = []
    slow = threading.Thread(target=lambda: results.append(router.write(b"m f=1", "bucket=slow")[0].status))
    slow.start()
    wait_until(lambda: router.admission.bytes_held, holds=lambda held: held == len(b"m f=1"))
    assert error_of(router.write(b"m f=2 2")) == (503, "unavailable")
    slow.join()
    assert results == [503]
    go.set()
    wait_until(lambda: router.admission.bytes_held, holds=lambda held: held == 0)
    assert router.write(b"m f=3 3")[0].status == 204
    assert [row["f"] for row in router.rows("ns", "m")] == [3.0]


class SlowStore(CloudStore):
    """A store that holds puts back until `go`."""

    def __init__(self) -> None:
        super().__init__("memory:")
        self.go = Event()

    def put_if_absent(self, path: str, data: bytes) -> None:
        assert self.go.wait(20)
        super().put_if_absent(path, data)


def test_settling_ends_when_nobody_waits_for_it_any_longer(start_router: StartRouter) -> None:
    """Of many new tables those settled in time are kept; the store is not asked for the others after the answer."""
    store = SlowStore()
    router = start_router(store=store, append_timeout_s=0.1)
    assert error_of(router.write(b"a f=1\nb f=1\nc f=1")) == (503, "unavailable")
    store.go.set()
    wait_until(lambda: router.admission.bytes_held, holds=lambda held: held == 0)
    assert len(list(store.list("schema/"))) == 1
    assert router.records() == []


class DeadWriter(MemoryWriter):
    """A backend whose thread is gone."""

    def append_many(self, sequencer: SequencerId, records: Sequence[Record]) -> "Future[AppendedRange]":
        raise WriterDied("the log's thread died")


def test_a_router_that_has_to_end_is_not_ready(start_router: StartRouter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once an append has failed for good, /ready says why until the process has ended."""
    monkeypatch.setattr("writebuffer.memory.MemoryWriter", DeadWriter)
    router = start_router()
    assert error_of(router.write(b"m f=1 1")) == (503, "unavailable")
    answer = router.request("GET", "/ready")
    assert error_of(answer) == (503, "unavailable")
    assert "the log's thread died" in json.loads(answer[1])["message"]


class BrokenWriter(MemoryWriter):
    """A backend with a defect: its appends raise at the call."""

    def append_many(self, sequencer: SequencerId, records: Sequence[Record]) -> "Future[AppendedRange]":
        raise ZeroDivisionError("secret detail")


def test_a_defect_in_a_backend_is_500_and_answers_every_request(
    start_router: StartRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An append that breaks in a way no contract knows still answers its requests, without detail."""
    monkeypatch.setattr("writebuffer.memory.MemoryWriter", BrokenWriter)
    router = start_router()
    response, content = router.write(b"m,h=a f=1 1\nm,h=b f=1 1\nm,h=c f=1 1")
    assert error_of((response, content)) == (500, "internal error")
    assert b"secret" not in content
    assert router.admission.bytes_held == 0


class RefusedWriter(MemoryWriter):
    """A backend that does not translate what the operating system says."""

    def append_many(self, sequencer: SequencerId, records: Sequence[Record]) -> "Future[AppendedRange]":
        raise PermissionError(errno.EACCES, "Permission denied", "/data/log")


def test_an_error_of_the_operating_system_is_503_with_its_reason(
    start_router: StartRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permissions come back and disks get room: the client keeps the batch and sends it again."""
    monkeypatch.setattr("writebuffer.memory.MemoryWriter", RefusedWriter)
    response, content = start_router().write(b"m f=1 1")
    assert error_of((response, content)) == (503, "unavailable")
    assert int(response.headers["Retry-After"]) >= 1
    assert "Permission denied: '/data/log'" in json.loads(content)["message"]


def test_writes_that_come_while_one_waits_are_answered_when_they_are_durable(start_router: StartRouter) -> None:
    """No answer comes before durability, with any number of clients; then each gets its own."""
    router = start_router()
    router.backend.hold()
    results: list[int] = []
    clients = [
        threading.Thread(target=lambda n=n: results.append(router.write(f"m f={n} {n}".encode())[0].status))
        for n in range(10)
    ]
    for client in clients:
        client.start()
    wait_until(lambda: router.admission.bytes_held, holds=lambda held: held == 10 * len(b"m f=0 0"))
    assert results == []
    router.backend.release()
    for client in clients:
        client.join()
    assert results == [204] * 10
    assert len(router.rows("ns", "m")) == 10


class AwayStore(CloudStore):
    """A store that can go away."""

    away = False

    def get(self, path: str) -> bytes:
        if self.away:
            raise Unavailable("object store: connection refused")
        return super().get(path)


def test_without_the_store_known_columns_are_written_and_unknown_ones_are_503(start_router: StartRouter) -> None:
    """Steady state needs no store; a new column does, is 503 while it is away, and is stored when it is back."""
    store = AwayStore("memory:")
    router = start_router(store=store)
    assert router.write(b"m f=1 1")[0].status == 204
    store.away = True
    assert router.write(b"m f=2 2")[0].status == 204
    response, content = router.write(b"m f=3,g=3 3")
    assert error_of((response, content)) == (503, "unavailable")
    assert response.getheader("Retry-After", "").isdigit()
    store.away = False
    assert router.write(b"m f=3,g=3 3")[0].status == 204
    assert [row["f"] for row in router.rows("ns", "m")] == [1.0, 2.0, 3.0]


def test_until_the_buffer_is_open_writes_are_503_and_the_process_says_why(start_router: StartRouter) -> None:
    """/ready fails with the reason, /health does not, and writes are to be sent again."""
    router = start_router(is_open=False)
    for path in ("/ready", "/readyz"):
        assert error_of(router.request("GET", path)) == (503, "unavailable")
    assert router.request("GET", "/health")[0].status == 200
    response, content = router.write(b"m f=1 1")
    assert error_of((response, content)) == (503, "unavailable")
    assert response.getheader("Retry-After", "").isdigit()

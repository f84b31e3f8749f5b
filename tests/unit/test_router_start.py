"""What a router says of its write buffer once it can be written, and what it closes when it stops meanwhile."""

import asyncio
import threading
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
import structlog

from common.values.config import RetentionConfig, RouterConfig
from router.main import Router
from router.opened import Opened
from writebuffer.contract import Measurable, SeekableByTime, Trimmable


@pytest.mark.parametrize(
    ("powers", "warned"),
    [
        ({Trimmable, Measurable, SeekableByTime}, []),
        ({Trimmable}, ["keep_bytes has no effect"]),
        (set(), ["nothing trims this write buffer"]),
    ],
)
def test_a_start_says_which_retention_the_write_buffer_cannot_keep(powers: set[type], warned: list[str]) -> None:
    """One warning, with the buffer's URL; none where both settings count."""
    backend = Mock(powers=frozenset(powers), url="test:")

    async def start() -> None:
        service: Any = Mock(halted=asyncio.get_running_loop().create_future())
        service.halted.set_result(None)
        router = Router(RouterConfig(), RetentionConfig(), Mock(), Mock(), backend, Mock(), structlog.get_logger())
        router._open_writer = AsyncMock(return_value=Mock(spec_set=["append", "close"]))  # type: ignore[method-assign]
        await router._work(service)

    with structlog.testing.capture_logs() as lines:
        asyncio.run(start())
    warnings = [line for line in lines if line["log_level"] == "warning"]
    assert [line["write_buffer"] for line in warnings] == ["test:"] * len(warned)
    assert all(part in line["event"] for part, line in zip(warned, warnings, strict=True))


def stopped_while(opening: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Mock, Mock]:
    """Writer and reader of a router whose stop comes while its backend is in the middle of that call."""
    begun, go = threading.Event(), threading.Event()
    writer, reader = Mock(spec=["trim", "close"]), Mock()
    opened = {"open_writer": writer, "open_reader": reader}

    def opens(name: str) -> Any:
        if name == opening:
            begun.set()
            assert go.wait(20)
        return opened[name]

    monkeypatch.setattr("router.main.open_own_writer", lambda *_: opens("open_writer"))
    monkeypatch.setattr("router.main.followed_streams", Mock())
    backend = Mock(powers=frozenset({Trimmable, Measurable, SeekableByTime}), url="test:")
    backend.open_reader = lambda: opens("open_reader")

    async def run() -> None:
        service: Any = Mock(halted=asyncio.get_running_loop().create_future())
        router = Router(
            RouterConfig(), RetentionConfig(), Mock(sequencers=1), Mock(), backend, Mock(), structlog.get_logger()
        )
        working = asyncio.create_task(router._work(service))
        assert await asyncio.to_thread(begun.wait, 20)
        router._stopped.set()
        await asyncio.to_thread(router._opened.close)
        working.cancel()
        go.set()
        await asyncio.wait({working})

    asyncio.run(run())  # which waits for its threads
    return writer, reader


def test_a_writer_that_is_opened_while_the_router_stops_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder's lock, or a connection, would be held by a process that is at its end."""
    writer, _ = stopped_while("open_writer", monkeypatch)
    writer.close.assert_called_once_with()


def test_a_trimmer_s_reader_that_is_opened_while_the_router_stops_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer is closed first, and nothing is trimmed through it after that."""
    writer, reader = stopped_while("open_reader", monkeypatch)
    writer.close.assert_called_once_with()
    reader.close.assert_called_once_with()
    writer.trim.assert_not_called()


def test_what_was_opened_is_closed_once_and_last_first() -> None:
    """What uses another is opened after it."""
    closed: list[str] = []
    opened = Opened()
    assert all(opened.keep(lambda name=name: closed.append(name)) for name in ("writer", "reader"))
    opened.close()
    opened.close()
    assert closed == ["reader", "writer"]
    assert not opened.keep(lambda: closed.append("late"))
    assert closed == ["reader", "writer", "late"]

"""Real worker processes on an event loop: what they answer, how they end, and who comes after them."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import structlog
from structlog.testing import capture_logs

from common.catalog.table_schema import TableSchema
from common.http.server import new_event_loop
from common.values.errors import PenstockError, Unavailable
from common.values.schema import ColumnType
from router.core.events import Parse, Parsed, ParseFailed
from router.parsing.messages import Body
from router.workers import process, slot
from router.workers.workers import Workers
from tests.support.odd_worker import BREAK, DIE, EXIT, HANG, MEMORY, STUCK, WAIT
from tests.support.wait import wait_until

Event = Parsed | ParseFailed


@pytest.fixture(autouse=True)
def odd_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "WORKER", "tests.support.odd_worker")


class Driver:
    """Workers on an event loop of this thread, and the events that they reported."""

    def __init__(self, count: int = 1) -> None:
        self.workers = Workers(count, 4, structlog.get_logger())
        self.events: list[Event] = []
        self.restarts = 0
        self._runner = asyncio.Runner(loop_factory=new_event_loop)

    def __enter__(self) -> "Driver":
        self._runner.__enter__()
        self._runner.run(self._open())
        return self

    def __exit__(self, *error: object) -> None:
        self._runner.__exit__(None, None, None)
        self.workers.close()

    def pid(self, number: int = 0) -> int:
        found = self.workers.figures()[str(number)]["pid"]
        assert found is not None
        return found

    def do(self, act: Any, *arguments: Any) -> None:
        """Call it on the loop."""

        async def call() -> None:
            act(*arguments)

        self._runner.run(call())

    def parse(self, batch_id: int, *bodies: bytes, slot: int = 0, news: Any = None) -> None:
        action = Parse(batch_id, slot, "ns", [Body(body, 1, 0) for body in bodies], news or {})
        self.do(self.workers.parse, action)

    def until(self, holds: Any, timeout_s: float = 30) -> None:
        async def wait() -> None:
            async with asyncio.timeout(timeout_s):
                while not holds():
                    await asyncio.sleep(0.01)

        self._runner.run(wait())

    def next_event(self) -> Event:
        self.until(lambda: self.events)
        return self.events.pop(0)

    async def _open(self) -> None:
        self.workers.open(self.events.append, self._restarted)

    def _restarted(self) -> None:
        self.restarts += 1


@pytest.fixture
def driver() -> Iterator[Driver]:
    with Driver() as one:
        yield one


def failed(event: Event) -> ParseFailed:
    assert isinstance(event, ParseFailed)
    return event


def accepted(event: Event) -> list[int]:
    assert isinstance(event, Parsed), event
    return [lines.accepted for lines in event.result.requests]


def test_batches_of_one_slot_are_parsed_in_order(driver: Driver) -> None:
    """Given all at once, also large ones, each is answered by its own result."""
    for number in range(1, 4):
        driver.parse(number, *[b"t f=1\n" * number * 20_000] * number)
    for number in range(1, 4):
        event = driver.next_event()
        assert event.batch_id == number
        assert accepted(event) == [number * 20_000] * number


def test_slots_work_beside_each_other() -> None:
    """While one is busy, the other answers; each is a process of its own."""
    with Driver(2) as driver:
        driver.parse(1, WAIT, slot=0)
        driver.parse(2, b"t f=1", slot=1)
        assert driver.next_event().batch_id == 2
        assert driver.pid(0) != driver.pid(1)
        driver.do(driver.workers.cancel, 1)
        assert driver.next_event().batch_id == 1


@pytest.mark.parametrize(("body", "how"), [(DIE, "was ended by SIGKILL"), (EXIT, "exited with 3")])
def test_a_worker_that_dies_fails_its_batch_and_has_a_successor(driver: Driver, body: bytes, how: str) -> None:
    """The event says that the parser died, the log how; what waited for the slot is parsed by the next process."""
    before = driver.pid()
    with capture_logs() as lines:
        driver.parse(1, b"t f=1\nt " + body)
        driver.parse(2, b"t f=1")
        event = failed(driver.next_event())
        assert (event.batch_id, event.parser_died) == (1, True)
        assert how in event.error.message
        assert accepted(driver.next_event()) == [1]
    assert driver.pid() != before
    assert driver.restarts == driver.workers.figures()["0"]["restarts"] == 1
    (line,) = lines
    assert (line["pid"], line["log_level"]) == (before, "error")
    assert f"a worker {how} while it parsed" in line["event"]


def test_an_idle_worker_that_is_killed_has_a_successor(driver: Driver) -> None:
    """Nobody's batch fails."""
    os.kill(driver.pid(), signal.SIGKILL)
    driver.until(lambda: driver.restarts)
    driver.parse(1, b"t f=1")
    assert accepted(driver.next_event()) == [1]


def test_a_successor_says_which_schemas_it_lacks(driver: Driver) -> None:
    """What its predecessor was sent is unknown to it: its answer names the tables, so that they are sent again."""
    driver.parse(1, b"t f=1", news={"t": TableSchema(3, {"f": ColumnType.FLOAT})})
    first = driver.next_event()
    assert isinstance(first, Parsed)
    assert dict(first.result.lacking) == {}
    os.kill(driver.pid(), signal.SIGKILL)
    driver.until(lambda: driver.restarts)
    driver.parse(2, b"t f=1")
    second = driver.next_event()
    assert isinstance(second, Parsed)
    assert dict(second.result.lacking) == {"t": 0}


def test_pauses_are_short_where_bodies_end_the_workers(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first successor comes at once, later ones after a pause that does not grow, until one has parsed something:
    what waits for the slot is not to blame."""
    monkeypatch.setattr(slot, "PAUSE_S", 0.01)
    with capture_logs() as lines:
        for number in range(3):
            driver.parse(number, DIE)
            driver.next_event()
        driver.parse(4, b"t f=1")
        driver.next_event()
        driver.parse(5, DIE)
        driver.next_event()
    assert [line["starts_again_in_s"] for line in lines] == [0, 0.01, 0.01, 0]


def test_a_worker_that_cannot_start_fails_no_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often: no body is to blame, and it is parsed once a worker is there. Pauses grow meanwhile."""
    monkeypatch.setattr(slot, "PAUSE_S", 0.01)
    monkeypatch.setattr(process, "WORKER", "tests.support.no_such_worker")
    with Driver() as driver, capture_logs() as lines:
        driver.parse(1, b"t f=1")
        driver.until(lambda: len(lines) > 3)
        assert driver.events == []
        monkeypatch.setattr(process, "WORKER", "tests.support.odd_worker")
        assert accepted(driver.next_event()) == [1]
    assert {line["event"] for line in lines} == {"a worker exited with 1 while it started"}
    assert [line["starts_again_in_s"] for line in lines[:4]] == [0, 0.01, 0.02, 0.04]


def test_a_worker_that_never_gets_ready_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """It hangs in its start; what waits for the slot is parsed by its successor."""
    monkeypatch.setattr(slot, "START_S_MAX", 0.3)
    monkeypatch.setattr(process, "WORKER", "tests.support.hung_worker")
    with Driver() as driver, capture_logs() as lines:
        monkeypatch.setattr(process, "WORKER", "tests.support.odd_worker")
        driver.parse(1, b"t f=1")
        driver.until(lambda: lines)
        monkeypatch.setattr(slot, "START_S_MAX", 60.0)
        assert accepted(driver.next_event()) == [1]
    assert lines[0]["event"] == "a worker is not ready after 0.3 s: it is killed"


def test_a_cancelled_batch_ends_soon_and_its_worker_goes_on(driver: Driver) -> None:
    """Cancelled while it is parsed; a cancel of a batch that is unknown or done changes nothing."""
    driver.parse(1, WAIT)
    driver.do(driver.workers.cancel, 1)
    event = failed(driver.next_event())
    assert (event.batch_id, event.parser_died) == (1, False)
    assert isinstance(event.error, Unavailable)
    driver.do(driver.workers.cancel, 1)
    driver.do(driver.workers.cancel, 99)
    driver.parse(2, b"t f=1")
    assert accepted(driver.next_event()) == [1]
    assert driver.restarts == 0


def test_a_batch_that_is_cancelled_before_its_turn_is_never_parsed(driver: Driver) -> None:
    """It fails at once, while the one before goes on."""
    driver.parse(1, WAIT)
    driver.parse(2, DIE)
    driver.do(driver.workers.cancel, 2)
    assert failed(driver.next_event()).batch_id == 2
    driver.do(driver.workers.cancel, 1)
    assert failed(driver.next_event()).batch_id == 1
    assert driver.restarts == 0


def test_a_worker_that_hangs_is_killed_once_nobody_waits(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some time after its batch was cancelled, and not before."""
    monkeypatch.setattr(slot, "CANCEL_GRACE_S", 0.2)
    driver.parse(0, b"t f=1")
    assert accepted(driver.next_event()) == [1]
    with capture_logs() as lines:
        driver.parse(1, HANG)
        driver.parse(2, b"t f=1")
        driver.do(driver.workers.cancel, 1)
        assert failed(driver.next_event()).parser_died
        assert accepted(driver.next_event()) == [1]
    assert "a worker hangs" in lines[0]["event"]


@pytest.mark.parametrize(("body", "kind"), [(MEMORY, Unavailable), (BREAK, PenstockError)])
def test_a_defect_is_answered_without_detail_and_logged(driver: Driver, body: bytes, kind: type) -> None:
    """The worker goes on; the log has the trace."""
    with capture_logs() as lines:
        driver.parse(1, body)
        event = failed(driver.next_event())
    assert (type(event.error), event.parser_died) == (kind, False)
    assert "secret" not in event.error.message
    assert "Traceback" in lines[0]["trace"]
    assert driver.restarts == 0


def test_signals_for_the_router_do_not_end_a_worker(driver: Driver) -> None:
    """A terminal and a service manager send them to every process; the router has batches to finish."""
    driver.parse(1, WAIT)
    driver.parse(2, b"t f=1")
    wait_until(lambda: is_ignoring(driver.pid(), signal.SIGINT) and is_ignoring(driver.pid(), signal.SIGTERM))
    os.kill(driver.pid(), signal.SIGINT)
    os.kill(driver.pid(), signal.SIGTERM)
    assert os.getpgid(driver.pid()) != os.getpgid(0)
    driver.do(driver.workers.cancel, 1)
    driver.next_event()
    assert accepted(driver.next_event()) == [1]
    assert driver.restarts == 0


@pytest.mark.parametrize("body", [b"", WAIT, HANG, STUCK], ids=["idle", "busy", "hanging", "stuck"])
def test_closing_leaves_no_process(body: bytes) -> None:
    """Whatever a worker does."""
    with Driver(2) as driver:
        pids = [driver.pid(0), driver.pid(1)]
        if body:
            driver.parse(1, body)
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_worker_imports_only_what_parsing_needs() -> None:
    """No server, store, query engine or log: a worker is small, and starts while the router does."""
    code = (
        "import sys, router.workers.worker;"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} & set(sys.argv[1:])))"
    )
    unwanted = [
        "uvicorn",
        "uvloop",
        "asyncio",
        "obstore",
        "duckdb",
        "structlog",
        "prometheus_client",
        "redis",
        "psutil",
    ]
    root = Path(__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", code, *unwanted], capture_output=True, text=True, check=True, cwd=root)
    assert ran.stdout.split() == []


def is_ignoring(pid: int, number: signal.Signals) -> bool:
    """Linux's word for it."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith("SigIgn"))
    return bool(int(mask, 16) & 1 << number - 1)

"""SIGKILL of the server itself, again and again under load: Redis (appendfsync always) and a Kafka broker.

The writer goes on and sends what failed again, the same producer and sequence; a reader follows all the time. What
occurs twice is then marked by its headers, and nothing that was acknowledged is missing.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType

import pytest

from common.values.errors import Unavailable
from common.values.ids import SequencerId
from tests.support.acting import Acting
from tests.support.buffer_records import read_all, record
from tests.support.campaign import campaign, rounds
from tests.support.figures import record_figure
from tests.support.services import Server, killable_server
from tests.support.tail import Tail
from tests.support.wait import wait_until
from writebuffer.connect import connect
from writebuffer.contract import Appended, Backend, Writer
from writebuffer.errors import WriterDied
from writebuffer.record import Record

KILLS = 3
KILLS_IN_CAMPAIGN = max(1, 2 * rounds() // 5)
IN_FLIGHT = 16
ONE = SequencerId(0)


class Load(Acting):
    """Appends numbered records on a thread, at most IN_FLIGHT unresolved; what fails is appended again."""

    def __init__(self, backend: Backend) -> None:
        self.acknowledged: dict[int, int] = {}
        """Number to offset."""
        self.sent_again = 0
        self._backend = backend
        self._writer = backend.open_writer()
        super().__init__("load")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()
        self._writer.close()
        if self._error and not error:
            raise self._error

    def finish(self) -> None:
        """Begin nothing more, and return when what was begun is acknowledged."""
        self.stop(120)

    def await_progress(self, more: int = 50) -> None:
        before = len(self.acknowledged)
        wait_until(
            lambda: (len(self.acknowledged), self._error),
            holds=lambda seen: seen[0] >= before + more or seen[1],
            timeout_s=90,
            what="appends are acknowledged",
        )

    def _run(self) -> None:
        number = 0
        waiting: deque[tuple[int, Future[Appended]]] = deque()
        while waiting or not self._stopped.is_set():
            while len(waiting) < IN_FLIGHT and not self._stopped.is_set():
                waiting.append((number, self._writer.append(ONE, _sent(number))))
                number += 1
            self._settle(*waiting.popleft(), waiting)

    def _settle(self, number: int, future: "Future[Appended]", waiting: "deque[tuple[int, Future[Appended]]]") -> None:
        try:
            self.acknowledged[number] = future.result(120).offset
            return
        except WriterDied:
            self._writer.close()
            self._writer = self._reopened()
        except Unavailable:
            self._stopped.wait(0.05)
        self.sent_again += 1
        waiting.appendleft((number, self._writer.append(ONE, _sent(number))))

    def _reopened(self) -> Writer:
        return wait_until(lambda: _opened(self._backend), timeout_s=60, what="the writer opens again")


def _opened(backend: Backend) -> Writer:
    try:
        return backend.open_writer()
    except Unavailable as error:
        raise OSError(str(error)) from error


def kill_server(server: Server, kills: int) -> str:
    """Kill and start the server `kills` times under load, then compare; what was counted."""
    backend = connect(server.buffer_url)
    backend.create(1)
    with Tail(backend) as tail, Load(backend) as load:
        for _ in range(kills):
            load.await_progress()
            server.kill()
            server.start()
        load.await_progress()
        load.finish()
        found = read_all(backend)
        tail.await_offset(found[-1][0] + 1)
    check(load.acknowledged, [(offset, one.to_bytes()) for offset, one in found])
    assert tail.seen == [(offset, one.to_bytes()) for offset, one in found]
    doubled = len(found) - len(load.acknowledged)
    return f"{len(load.acknowledged)} acknowledged, {load.sent_again} sent again, {doubled} occur twice, marked so"


def check(acknowledged: dict[int, int], found: Sequence[tuple[int, bytes]]) -> None:
    """Byte by byte: each record is stored where it was acknowledged; all others repeat one of them.

    What occurs twice is marked so: its bytes, with producer and sequence in them, are those of the first.
    """
    stored = dict(found)
    sent = {number: _sent(number).to_bytes() for number in acknowledged}
    lost = {number: offset for number, offset in acknowledged.items() if stored.get(offset) != sent[number]}
    assert not lost, f"acknowledged, and missing or different: {lost}"
    assert len(stored) == len(found)
    foreign = [offset for offset, one in found if one not in set(sent.values())]
    assert not foreign, f"never sent, or sent and never acknowledged, or changed: offsets {foreign}"


def _sent(number: int) -> Record:
    return record(number, 1000)


@pytest.mark.parametrize(
    "changed",
    [
        lambda sent: _sent(sent).to_bytes()[:-1] + b"x",
        lambda sent: record(sent, 999).to_bytes(),
        lambda sent: _sent(sent + 1).to_bytes(),
    ],
    ids=["another byte", "shorter", "another sequence"],
)
def test_the_check_sees_a_repeat_that_is_not_marked(changed: Callable[[int], bytes]) -> None:
    """One that differs from the record it repeats in any byte of payload or header; an equal one is let pass."""
    found = [(0, _sent(0).to_bytes()), (1, _sent(0).to_bytes())]
    check({0: 0}, found)
    with pytest.raises(AssertionError, match="offsets"):
        check({0: 0}, [*found, (2, changed(0))])
    with pytest.raises(AssertionError, match="missing or different"):
        check({0: 0}, [(0, changed(0))])


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", ["redis", "kafka"])
def test_a_killed_server_loses_nothing_acknowledged(name: str, tmp_path: Path) -> None:
    """Writer and reader go on; what was acknowledged is read at its offset, what is doubled is marked so."""
    with killable_server(name, tmp_path) as server:
        counted = kill_server(server, KILLS)
    record_figure(f"{KILLS} x SIGKILL of {name}: {counted}")


@campaign
@pytest.mark.parametrize("name", ["redis", "kafka"])
def test_a_server_killed_again_and_again_loses_nothing(name: str, tmp_path: Path) -> None:
    """The same at length: `make campaign` kills each 20 times."""
    with killable_server(name, tmp_path) as server:
        counted = kill_server(server, KILLS_IN_CAMPAIGN)
    record_figure(f"{KILLS_IN_CAMPAIGN} x SIGKILL of {name}: {counted}")

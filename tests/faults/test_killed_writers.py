"""SIGKILL of writers under load, again and again, on every durable backend, with a reader that follows all the time."""

import random
from pathlib import Path

import pytest

from tests.support import log_process
from tests.support.buffer_records import read_all, record
from tests.support.campaign import campaign, rounds
from tests.support.figures import record_figure
from tests.support.tail import Tail
from writebuffer.connect import connect
from writebuffer.record import Record

SEED = 7
KILLS = 5
KILLS_IN_CAMPAIGN = 4 * rounds()
LIFE = 1_000_000
"""Life n of the writer numbers its records from n * LIFE."""
PAYLOAD_BYTES = 2000
"""As log_process sends them."""


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/log"


def kill_writers(url: str, kills: int) -> int:
    """Kill a writer `kills` times in the middle of its appends, then compare what was read; the count acknowledged."""
    rng = random.Random(SEED)
    backend = connect(url)
    backend.create(1)
    acknowledged: dict[int, int] = {}
    with Tail(backend) as tail:
        for life in range(kills):
            process = log_process.start("write", url, str(life * LIFE))
            acknowledged |= dict(log_process.lines(process, rng.randint(1, 80)))
            process.kill()
            acknowledged |= dict(log_process.lines(process, LIFE))
            process.wait()
        backend.open_writer().close()  # a log's newest batches count again once it was opened
        found = read_all(backend)
        tail.await_offset(found[-1][0] + 1)
    check(acknowledged, found)
    assert tail.seen == [(offset, one.to_bytes()) for offset, one in found]
    return len(acknowledged)


def check(acknowledged: dict[int, int], found: list[tuple[int, Record]]) -> None:
    """Acknowledged records are at their offsets; each writer's are the first it sent, in order, once, to the byte."""
    numbers = {offset: one.headers.producer_sequence for offset, one in found}
    assert [one for _, one in found] == [record(number, PAYLOAD_BYTES) for number in numbers.values()]
    assert {offset: numbers.get(offset) for offset in acknowledged} == acknowledged
    assert list(numbers) == sorted(numbers)
    lives: dict[int, list[int]] = {}
    for number in numbers.values():
        lives.setdefault(number // LIFE, []).append(number % LIFE)
    assert all(life == list(range(len(life))) for life in lives.values())


@pytest.mark.parametrize("url", ["file_url", "redis_stream", "kafka_topic"])
def test_killed_writers_lose_nothing_and_double_nothing(url: str, request: pytest.FixtureRequest) -> None:
    """What was acknowledged is read once at its offset, by the reader that followed and by a fresh one."""
    count = kill_writers(request.getfixturevalue(url), KILLS)
    assert count > KILLS


@campaign
@pytest.mark.parametrize("url", ["file_url", "redis_stream", "kafka_topic"])
def test_hundreds_of_killed_writers_lose_nothing(url: str, request: pytest.FixtureRequest) -> None:
    """The same at length: `make campaign` kills 200 of each."""
    count = kill_writers(request.getfixturevalue(url), KILLS_IN_CAMPAIGN)
    record_figure(
        f"{KILLS_IN_CAMPAIGN} x SIGKILL of a writer on {url}: {count} acknowledged records, none lost or doubled"
    )

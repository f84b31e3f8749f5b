"""A real `penstock up` that is stopped: its last line says what became of the rows."""

import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.values.ids import Offset, SequencerId
from penstock.cluster.verdict import said_of
from tests.support.up_process import Up

Start = Callable[..., Up]
ALL = "stopped: everything that was acknowledged is in the store"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Up] = []

    def begin(*more: str) -> Up:
        started.append(Up(tmp_path, *more))
        return started[-1]

    yield begin
    for one in started:
        one.end()


def write(url: str, lines: bytes) -> None:
    urllib.request.urlopen(f"{url}/api/v2/write?bucket=b", lines, timeout=60).close()


def last_line(up: Up) -> str:
    return up.log.read_text().splitlines()[-1]


def test_an_ordered_stop_ends_with_what_became_of_the_rows(start: Start) -> None:
    """All in the store, rows that overwrite each other and repeats included; then with some left in the log."""
    up = start()
    url = up.wait_ready()
    write(url, b"m f=1 1\nm f=2 1\nn,h=a f=3 3")
    write(url, b"m f=1 1")
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(60) == 0
    assert ALL in last_line(up)
    up = start("--on-stop", "leave")
    write(up.wait_ready(), b"m f=5 5")
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(60) == 0
    assert "nothing that was acknowledged is lost; of sequencer 0 a part is in the write buffer alone" in last_line(up)


def test_a_cluster_that_nobody_wrote_to_has_everything_in_the_store(start: Start) -> None:
    """As there is nothing."""
    up = start()
    up.wait_ready()
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(60) == 0
    assert ALL in last_line(up)


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ([], ALL),
        ([(0, 0), (7, 7)], ALL),
        ([(0, 0), (6, 7)], "of sequencer 1 a part is in the write buffer alone"),
        ([(0, 3), (7, 7), (1, 2)], "of sequencers 0, 2 a part is in the write buffer alone"),
    ],
)
def test_the_verdict_names_the_sequencers_that_have_rows_in_the_buffer_alone(
    ends: list[tuple[int, int]], said: str
) -> None:
    """By replay offset and next offset of each."""
    found = {SequencerId(number): (Offset(first), Offset(second)) for number, (first, second) in enumerate(ends)}
    assert said in said_of(found)

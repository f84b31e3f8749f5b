"""What Telegraf's outputs do with a router's answers: good lines are stored once, and what was not stored is kept."""

import random

import pytest

from tests.support.router_fixtures import StartRouter
from tests.support.telegraf import DONE, DROPPED, KEPT, OUTPUTS, Output
from writebuffer.faults import Faults, FaultyWriter

LINES = b"cpu,host=a usage=1.5 1700000000000000001\ncpu,host=b usage=2.5 1700000000000000002\n"


@pytest.fixture(params=OUTPUTS, ids=[output.name for output in OUTPUTS])
def output(request: pytest.FixtureRequest) -> Output:
    found: Output = request.param
    return found


def test_an_output_starts_and_writes(start_router: StartRouter, output: Output) -> None:
    """Its batch is stored, and it goes on."""
    router = start_router()
    assert output.start(router.port) in (None, 200)
    assert output.write(router.port, "ns", LINES) == DONE
    assert [row["usage"] for row in router.rows("ns", "cpu")] == [1.5, 2.5]


def test_a_bad_line_costs_no_good_one(start_router: StartRouter, output: Output) -> None:
    """The batch is not sent for ever, and its good lines are stored; the plain http output tries it again."""
    router = start_router()
    verdict = output.write(router.port, "ns", LINES + b"cpu usage=oops\n")
    assert verdict == {"influxdb": DONE, "http": KEPT}.get(output.name, DROPPED)
    assert [row["usage"] for row in router.rows("ns", "cpu")] == [1.5, 2.5]


def test_what_was_not_stored_is_kept(start_router: StartRouter, output: Output) -> None:
    """While the buffer is away the output keeps its batch, whatever the reason says."""
    router = start_router(
        wrap_writer=lambda writer: FaultyWriter(writer, random.Random(0), Faults(refused=1.0)),
    )
    assert output.write(router.port, "ns", LINES) == KEPT
    assert router.records() == []

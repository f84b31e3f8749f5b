"""The largest bodies, of as many names, columns, series or rows as fit: bounded in memory, refused by a named limit."""

import pytest

from tests.support.campaign import campaign
from tests.support.figures import record_figure
from tests.support.lines.hostile import BODIES, cost

GROWN_BYTES_MAX = 600 * 1024 * 1024

REASONS = {
    "tables": "over 1000 new tables in one request",
    "columns": "has 1000 columns; 1 more would be over 1000",
    "tag keys": "has 1000 columns; 1 more would be over 1000",
    "columns of one line": "is over 524288",
    "tags of one line": "is over 524288",
    "columns of the longest lines": "more would be over 1000",
    "columns of as many tables as there may be": "over 100000 new columns in one request",
    "tables beyond all columns": "in one request",
    "too long names": "is over 65535",
}
"""Of the bodies that are over a limit; the others are read whole."""

QUICK = ["columns of one line", "tags of one line", "columns of as many tables as there may be", "long columns"]


def check(name: str) -> None:
    found = cost(BODIES[name](), 4)
    record_figure(f"{name}: {found.grown_bytes >> 20} MiB for {found.accepted} lines and {found.refused} refused ones")
    assert found.grown_bytes < GROWN_BYTES_MAX
    if name in REASONS:
        assert found.refused
        assert all(REASONS[name] in reason for reason in found.reasons)


@pytest.mark.parametrize("name", QUICK)
def test_a_hostile_body_costs_bounded_memory(name: str) -> None:
    """A million columns or tags on one line or over a thousand tables; the longest names."""
    check(name)


@campaign
@pytest.mark.parametrize("name", sorted(BODIES.keys() - QUICK))
def test_any_hostile_body_costs_bounded_memory(name: str) -> None:
    """Those that take longer: tables, series, rows, refused lines without number."""
    check(name)

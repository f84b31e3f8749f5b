"""docs/api.md's table of requests that go wrong: each of its rows is sent to a router and answered as it says."""

import random
import re

import pyarrow as pa
import pytest

from tests.support.api_page import table
from tests.support.arrow_streams import rows_of, stream_of
from tests.support.dict_store import DictStore
from tests.support.router import RunningRouter
from tests.support.router_fixtures import StartRouter
from writebuffer.faults import Faults, FaultyWriter

PATHS = {
    "v1": "/write?db=ns",
    "v2": "/api/v2/write?bucket=ns",
    "v3": "/api/v3/write_lp?db=ns&precision=ns",
    "v3, all": "/api/v3/write_lp?db=ns&precision=ns&accept_partial=false",
    "arrow": "/api/v3/write_arrow?db=ns&table=m",
    "arrow, all": "/api/v3/write_arrow?db=ns&table=m&accept_partial=false",
}
UNDER = {
    "parse error": "",
    "type conflict": "",
    "limit": 'm s="' + "x" * 65_537 + '" 2',
    "store away, new column": "",
    "buffer away": "# nothing",
    "too large": "#" * 10 * 1024 * 1024,
    "empty": "",
}
"""What stands between the good lines, by the part of a request's name before its colon, where the page does not show
it."""

ROWS = table("Requests that go wrong")


ARROW_BODIES = {
    "parse error": stream_of(rows_of(time=pa.array([1, None, 3]), f=[1.0, 2.0, 3.0])),
    "type conflict": stream_of(rows_of(f=[1.0, 2.0, 3.0], g=[None, True, None])),
    "limit": stream_of(rows_of(f=[1.0, 2.0, 3.0], s=["", "x" * 65_537, ""])),
    "store away, new column": stream_of(rows_of(f=[1.0, 3.0], g=[1.0, None])),
    "too large": stream_of(rows_of(f=[1.0] * 700_000)),
    "empty": stream_of(rows_of(f=[1.0]).slice(0, 0)),
}


def body_of(request: str, api: str) -> bytes:
    name, _, rest = request.partition(": ")
    if api.startswith("arrow"):
        return ARROW_BODIES.get(name) or stream_of(rows_of(f=[1.0, 3.0]))
    if name == "empty":
        return b"# no line\n\n"
    shown = re.search("`(.*)`", rest)
    return f"m f=1 1\n{shown[1] if shown else UNDER[name]}\nm f=3 3\n".encode()


def router_for(request: str, start_router: StartRouter) -> RunningRouter:
    """As the request's name says: with its store or its buffer away, or sound."""
    store = DictStore()
    away = request.startswith("buffer away")
    router = start_router(
        store=store, wrap_writer=lambda writer: FaultyWriter(writer, random.Random(0), Faults(refused=float(away)))
    )
    if request.startswith("type conflict"):
        assert router.write(b"m g=0 0", "bucket=ns")[0].status == 204
    if request.startswith("store away"):
        assert router.write(b"m f=0 0", "bucket=ns")[0].status == 204
        store.fail_reads()
    return router


def fits(documented: str, body: str) -> bool:
    """Whether `body` is what the page shows in a cell, where `…` stands for any text."""
    parts = documented.strip("`").split("…")
    return re.fullmatch(".*".join(map(re.escape, parts)), body, re.DOTALL) is not None


def test_the_table_has_every_request_for_every_api() -> None:
    """No cell of requests x APIs is missing, or there twice."""
    names = [name.partition(": ")[0] for name, api, *_ in ROWS if api == "v1"]
    assert names == list(UNDER)
    assert [(name.partition(": ")[0], api) for name, api, *_ in ROWS] == [(one, api) for one in names for api in PATHS]


@pytest.mark.parametrize("row", ROWS, ids=[f"{row[0].partition(':')[0]}-{row[1]}" for row in ROWS])
def test_a_request_is_answered_as_the_table_says(start_router: StartRouter, row: list[str]) -> None:
    """Its status, its body, and what is stored afterwards."""
    request, api, status, body, stored = row
    router = router_for(request, start_router)
    response, content = router.request("POST", PATHS[api], body_of(request, api))
    assert response.status == int(status)
    assert fits(body, content.decode().strip()), content[:500]
    assert (response.getheader("Retry-After") is not None) == (status == "503")
    found = [row["f"] for row in router.rows("ns", "m") if row.get("f")]
    assert found == {"good lines": [1.0, 3.0], "nothing": []}[stored]

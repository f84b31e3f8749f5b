"""Every kind of bad line against every write API: status, form and text of the error; and the good lines are stored."""

from collections.abc import Iterator

import pytest

from common.values.config import RouterConfig
from tests.support.bad_lines import BAD_LINES
from tests.support.raw_http import exchange, request_bytes
from tests.support.router import RunningRouter
from tests.support.write_apis import V3, WRITE_APIS, WriteApi

CASES = [(api, kind) for api in WRITE_APIS for kind in BAD_LINES]


@pytest.fixture(scope="module")
def router() -> Iterator[RunningRouter]:
    running = RunningRouter(RouterConfig(port=0))
    yield running
    running.close()


def post(router: RunningRouter, target: str, kind: str) -> tuple[int, dict[str, str], bytes]:
    body = b"m,h=a f=1 1\n" + BAD_LINES[kind][0] + b"\nm,h=b f=3 3\n"
    return exchange(router.port, request_bytes("POST", target, [f"Content-Length: {len(body)}"], body))


@pytest.mark.parametrize(("api", "kind"), CASES, ids=[f"{api.name}-{kind}" for api, kind in CASES])
def test_a_bad_line_is_reported_and_the_good_ones_around_it_are_stored(
    router: RunningRouter, api: WriteApi, kind: str
) -> None:
    """400 with number, reason and start of the line in the API's own form, and a token for what is stored."""
    line, reason = BAD_LINES[kind]
    namespace = f"{api.name}-{kind}"
    status, headers, content = post(router, api.target(namespace), kind)
    assert status == 400
    assert api.text_of(headers, content)
    shown = line.decode(errors="replace")
    assert api.refused_line(content) == (2, reason, shown if len(shown) <= 256 else shown[:256] + "…")
    assert headers["x-penstock-write-token"]
    rows = [(row["h"], row["f"]) for row in router.rows(namespace, "m")]
    assert rows == [("a", 1.0), ("b", 3.0)]
    assert {table for *_, entry in router.records(namespace) for table in entry.tables} == {"m"}


@pytest.mark.parametrize("kind", BAD_LINES)
def test_without_accept_partial_nothing_around_a_bad_line_is_stored(router: RunningRouter, kind: str) -> None:
    """400 with the line, no token, no row."""
    namespace = f"all-{kind}"
    status, headers, content = post(router, V3.target(namespace, "accept_partial=false"), kind)
    assert (status, V3.text_of(headers, content)) == (400, "line protocol parsing error")
    assert "x-penstock-write-token" not in headers
    assert router.records(namespace) == []

"""Every kind of bad request against every write API: status, form and text of the error, and that nothing is stored."""

from collections.abc import Iterator

import pytest

from common.values.config import RouterConfig
from tests.support.bad_requests import BAD_REQUESTS, BODY_BYTES_MAX
from tests.support.raw_http import exchange
from tests.support.router import RunningRouter
from tests.support.write_apis import ARROW, WRITE_APIS, WriteApi

CASES = [(api, kind) for api in (*WRITE_APIS, ARROW) for kind, one in BAD_REQUESTS.items() if api in one.apis]


@pytest.fixture(scope="module")
def router() -> Iterator[RunningRouter]:
    running = RunningRouter(RouterConfig(port=0, body_bytes_max=BODY_BYTES_MAX))
    yield running
    running.close()


def counted(router: RunningRouter) -> float:
    """Writes that the metrics have counted."""
    lines = router.request("GET", "/metrics")[1].decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("penstock_router_requests_total"))


@pytest.mark.parametrize(("api", "kind"), CASES, ids=[f"{api.name}-{kind}" for api, kind in CASES])
def test_a_bad_request_is_answered_in_the_form_of_its_api(router: RunningRouter, api: WriteApi, kind: str) -> None:
    """Its lines are good, and none is stored, for it is not sure where to or what they are."""
    bad = BAD_REQUESTS[kind]
    before = counted(router)
    status, headers, content = exchange(router.port, bad.bytes_for(api, "ns"))
    assert status == bad.status, content
    assert api.text_of(headers, content, of_server=bad.of_server).startswith(bad.text_for(api)), content
    assert router.records() == []
    assert router.admission.bytes_held == 0
    assert counted(router) - before == float(not bad.of_server or bad.reaches_api)

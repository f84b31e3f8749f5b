"""Routers that serve on free ports, for the tests of HTTP, and what these say of every answer."""

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from common.values.config import RouterConfig
from tests.support.router import RunningRouter

StartRouter = Callable[..., RunningRouter]
"""Takes settings of RouterConfig and options of RunningRouter."""


@pytest.fixture(scope="module")
def running_routers() -> Iterator[list[RunningRouter]]:
    """Every router of this file; they end together, since each takes a moment to."""
    routers: list[RunningRouter] = []
    yield routers
    for router in routers:
        router.stop()
    for router in routers:
        router.close()


@pytest.fixture
def start_router(running_routers: list[RunningRouter]) -> StartRouter:
    def begin(**options: Any) -> RunningRouter:
        config = {name: options.pop(name) for name in list(options) if name in RouterConfig.__dataclass_fields__}
        running_routers.append(RunningRouter(RouterConfig(port=0, **config), **options))
        return running_routers[-1]

    return begin


@pytest.fixture
def router(start_router: StartRouter) -> RunningRouter:
    return start_router()


def error_of(answer: tuple[http.client.HTTPResponse, bytes]) -> tuple[int, str]:
    """Status and code of an error, after the checks that hold for every error."""
    response, content = answer
    assert response.getheader("Content-Type", "").startswith("application/json")
    values = json.loads(content)
    assert response.getheader("X-Platform-Error-Code") == values["code"]
    assert values["message"]
    return response.status, values["code"]


def chunks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))

"""What holds for every test: skips are loud (support/not_run.py), properties are repeatable and bounded in time."""

import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

pytest_plugins = [
    "tests.support.not_run",
    "tests.support.figures",
    "tests.support.services",
    "tests.support.router_fixtures",
]

# The wall clock of a busy machine is no property of the code; pytest-timeout guards against hangs.
settings.register_profile("default", deadline=None, print_blob=True)
settings.register_profile(
    "ci", deadline=None, print_blob=True, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "default")


@pytest.fixture(autouse=True)
def logging_of_its_own() -> Iterator[None]:
    """A command that runs within a test sets logging up for its process, which is the test's."""
    yield
    structlog.reset_defaults()

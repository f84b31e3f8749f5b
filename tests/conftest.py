"""What holds for every test: skips are loud (support/not_run.py), properties are repeatable and bounded in time."""

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.not_run", "tests.support.figures", "tests.support.services"]

# The wall clock of a busy machine is no property of the code; pytest-timeout guards against hangs.
settings.register_profile("default", deadline=None, print_blob=True)
settings.register_profile(
    "ci", deadline=None, print_blob=True, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "default")

"""Why a test was skipped."""

import pytest


def reason_of(report: pytest.TestReport) -> str:
    """As it was given to pytest.skip; of an expected failure why it was expected."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return str(getattr(report, "wasxfail", report.longrepr))

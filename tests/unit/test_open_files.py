"""How many connections the operating system's limit of open files leaves."""

import resource

import pytest

from common.http.open_files import connections_possible


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "possible", "soft_then"),
    [
        (1_024, 500_000, 5_000, 5_000, 5_256),
        (1_024, 4_096, 5_000, 3_840, 4_096),
        (1_024, resource.RLIM_INFINITY, 5_000, 5_000, 5_256),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 5_000, 5_000, resource.RLIM_INFINITY),
        (20_000, 20_000, 5_000, 5_000, 20_000),
        (100, 100, 5_000, 1, 100),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_needed_and_allowed(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, wanted: int, possible: int, soft_then: int
) -> None:
    """Never lowered, never above the hard limit; files beside the connections have their room."""
    limits = [soft, hard]
    monkeypatch.setattr(resource, "getrlimit", lambda which: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda which, new: limits.__setitem__(slice(None), new))
    assert connections_possible(wanted) == possible
    assert limits == [soft_then, hard]

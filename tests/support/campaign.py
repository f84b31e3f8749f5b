"""How far `make campaign` goes: rounds and seeds from the environment, so that CI can run a share of it."""

import os

import pytest

campaign = pytest.mark.campaign


_ROUNDS = 50


def rounds(default: int = _ROUNDS) -> int:
    """Rounds of a process test (PENSTOCK_CAMPAIGN_ROUNDS)."""
    return int(os.environ.get("PENSTOCK_CAMPAIGN_ROUNDS", default))


def is_whole() -> bool:
    """Whether the whole campaign runs, and not a share of it."""
    return rounds() >= _ROUNDS


def seeds(default: int = 5000) -> int:
    """Seeds of a simulation, examples of a property (PENSTOCK_CAMPAIGN_SEEDS)."""
    return int(os.environ.get("PENSTOCK_CAMPAIGN_SEEDS", default))

"""The helpers that other tests lean on: waiting says what it saw, and a skip is never silent."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.wait import NeverHeld, wait_until

ROOT = Path(__file__).parent.parent.parent


def test_waiting_returns_the_state_that_held() -> None:
    """What is not there yet (OSError, LookupError) is looked at again."""
    answers = iter([ConnectionRefusedError(), KeyError("not yet"), 1, 5])

    def look() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert wait_until(look, holds=lambda seen: seen > 3) == 5


@pytest.mark.parametrize("look", [lambda: 7, lambda: {}[7]], ids=["a state", "an error"])
def test_waiting_in_vain_says_what_was_seen_last(look: object) -> None:
    """The message is where a failed test is understood."""
    with pytest.raises(NeverHeld, match=r"seven did not hold within 0 s; last seen: .*7"):
        wait_until(look, holds=lambda seen: seen != 7, timeout_s=0, what="seven")  # type: ignore[arg-type]


SKIPPING = """
import pytest
def test_passes(): pass
def test_skips(): pytest.skip("no server here")
@pytest.mark.xfail
def test_known(): assert False
"""


def run_pytest(folder: Path, text: str, ci: str) -> "subprocess.CompletedProcess[str]":
    (folder / "test_it.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "tests.support.not_run", "-p", "no:cacheprovider", str(folder)]
    environ = os.environ | {"CI": ci, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_a_skip_is_loud(tmp_path: Path) -> None:
    """On a developer's machine a run with a skip passes, and says at its end what was not shown."""
    ran = run_pytest(tmp_path, SKIPPING, ci="")
    assert ran.returncode == 0, ran.stdout
    assert "NOT RUN: test_it.py::test_skips: no server here" in ran.stdout


@pytest.mark.parametrize("text", [SKIPPING, "import pytest\npytest.skip('no server here', allow_module_level=True)"])
def test_a_skip_in_ci_is_a_failure(tmp_path: Path, text: str) -> None:
    """In CI a missing server means a missing proof, for one test or a whole file; a known failure stays one."""
    ran = run_pytest(tmp_path, text, ci="true")
    assert ran.returncode != 0
    assert "NOT RUN, which in CI is a failure: no server here" in ran.stdout
    assert "known" not in ran.stdout

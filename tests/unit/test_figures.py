"""Figures that tests record are shown at the end of the run."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
RECORDING = """
from tests.support.figures import record_figure
def test_counts(): record_figure("crash points: 412")
def test_counts_not(): pass
"""


def test_a_recorded_figure_is_printed_at_the_end_under_its_tests_name(tmp_path: Path) -> None:
    """Also of a run that passes quietly."""
    (tmp_path / "test_it.py").write_text(RECORDING)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.support.figures", "-p", "no:cacheprovider", "."]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout
    assert "crash points: 412  [test_it.py::test_counts]" in ran.stdout

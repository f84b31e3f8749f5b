"""`make demo` with small numbers: the whole path through real processes."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
def test_the_demo_holds(tmp_path: Path) -> None:
    """Live metrics and a burst are read by SQL, again after SIGKILL of an ingester, and again from the files alone."""
    demo = subprocess.run(
        [sys.executable, "-m", "penstock", "demo", "--folder", str(tmp_path), "--samples", "2", "--rows", "2000"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=280,
        check=False,
    )
    assert demo.returncode == 0, f"{demo.stdout}\n{demo.stderr}"
    for shown in ("points acknowledged", "SIGKILL of ingester", "The same rows in the files alone", ".parquet"):
        assert shown in demo.stdout
    assert demo.stdout.splitlines()[-1].startswith(f"  rm -rf {tmp_path}/penstock-data {tmp_path}/")
    named = demo.stdout.partition("the first one ")[2].splitlines()[0]
    assert Path(named).is_file(), "the file that the demo names at its end is not there"

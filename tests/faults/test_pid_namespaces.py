"""Two containers on one volume: each is pid 1 in its own world, and yet only one of them writes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import log_process
from writebuffer.file import FileBackend

IN_ITS_OWN_WORLD = ["unshare", "--pid", "--fork", "--kill-child"]


def writer(url: str) -> list[str]:
    return [*IN_ITS_OWN_WORLD, sys.executable, "-m", "tests.support.log_process", "write", url, "0"]


def may_unshare() -> bool:
    try:
        ran = subprocess.run([*IN_ITS_OWN_WORLD, "true"], capture_output=True, timeout=20, check=False)
    except FileNotFoundError:
        return False
    return ran.returncode == 0


def test_the_second_of_two_pid_1_writers_is_refused(tmp_path: Path) -> None:
    """The lock is the kernel's, not a pid in a file: a holder with one's own pid is still another process."""
    if not may_unshare():
        pytest.skip("needs unshare and the right to make a pid namespace (run as root)")
    backend = FileBackend(str(tmp_path / "log"))
    backend.create(1)
    first = subprocess.Popen(writer(backend.url), stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "ready\n"
        second = subprocess.run(writer(backend.url), capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode != 0
        assert re.search(r"HeldByAnother: .*sequencer 0 is held by pid 1 on host", second.stderr)
        assert len(log_process.lines(first, 20)) == 20
    finally:
        first.kill()
        first.wait()

"""What cannot be printed fails the command."""

import subprocess
import sys

import pytest

PENSTOCK = f"{sys.executable} -m penstock"
LOAD = "load --rows 40000 --series 20 --output -"


def shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("arguments", ["--help", "load --help", "--version"])
def test_a_full_stdout_is_one_line_and_exit_code_1(arguments: str) -> None:
    """No traceback, not even the one of Python's own flush at exit."""
    done = shell(f"{PENSTOCK} {arguments} > /dev/full")
    assert (done.returncode, done.stderr) == (
        1,
        "penstock: error: stdout: No space left on device: the output is incomplete\n",
    )


def test_a_closed_stdout_is_refused() -> None:
    """A command whose answer nobody can get must not end as if it had given it."""
    done = shell(f"{PENSTOCK} load --help >&-")
    assert done.returncode == 1
    assert done.stderr == "penstock: error: stdout is closed: give it a file, or /dev/null\n"


def test_a_reader_that_has_enough_ends_generated_load_quietly() -> None:
    """`penstock load --output - | head -1` stops early with 1, without a traceback and without figures."""
    done = shell(f"{PENSTOCK} {LOAD} | head -1; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.count("\n") == 1


def test_generated_load_on_a_full_disk_is_an_error() -> None:
    """What stdout or a file did not accept is reported in one line."""
    for output in ("- > /dev/full", "/dev/full"):
        done = shell(f"{PENSTOCK} {LOAD.removesuffix(' -')} {output}")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "No space left on device" in done.stderr.splitlines()[-1]

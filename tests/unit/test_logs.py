"""The log's form, and what a broken reader of it does: nothing."""

import io
import os
import subprocess
import sys

from common import logs

LOGGING = """
import logging, os, sys
from common import logs
logger = logs.configure("ingester-3")
sys.stdin.readline()
for number in range(2000):
    logger.info("persisted", rows=number)
    logging.getLogger("other").warning("a library's line %d", number)
os.write(1, b"went on")
os._exit(0)
"""


def test_work_goes_on_when_nobody_reads_the_log() -> None:
    """A process whose stderr is a pipe without a reader logs thousands of lines, its own and libraries', and works."""
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", LOGGING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=write_end
    )
    os.close(write_end)
    os.close(read_end)
    said, _ = process.communicate(b"\n", timeout=60)
    assert (said, process.returncode) == (b"went on", 0)


def test_a_logger_of_its_own_has_the_form_of_the_process_s() -> None:
    """Time, level, process, event, then the rest, as logfmt: one line for each event."""
    stream = io.StringIO()
    logs.logger_onto(stream, "penstock").warning("router is killed", after_s=3)
    time, rest = stream.getvalue().split(" ", 1)
    assert time.startswith("timestamp=2")
    assert rest == 'level=warning process=penstock event="router is killed" after_s=3\n'

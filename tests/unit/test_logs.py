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


def test_a_command_that_answers_at_once_logs_only_errors() -> None:
    """Its own last line says what it could not do; one that works for long says what keeps it waiting."""
    code = (
        "import structlog; from common import logs\n"
        "for warnings in (False, True):\n"
        "    logs.configure_command(warnings=warnings)\n"
        "    structlog.get_logger().warning('librdkafka', warnings=warnings)\n"
        "    structlog.get_logger().error('broken', warnings=warnings)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    events = [line.partition(" event=")[2] for line in said.splitlines()]
    assert events == ["broken warnings=false", "librdkafka warnings=true", "broken warnings=true"]

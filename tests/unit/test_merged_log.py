"""The merged log of a cluster: whole lines by name, and never a stall."""

import os
import threading

from penstock.cluster.merged_log import MergedLog


def read_all(descriptor: int) -> list[str]:
    with os.fdopen(descriptor, encoding="utf-8") as file:
        return file.read().splitlines()


def test_lines_come_out_in_order_after_their_names() -> None:
    """Each line is after its process's name, the supervisor's own in the same form as the children's."""
    reading, writing = os.pipe()
    log = MergedLog(["router", "ingester-0"], writing)
    log.write("router", "timestamp=1 level=info process=router event=listening")
    log.say("router is ready")
    log.close()
    os.close(writing)
    first, second = read_all(reading)
    assert first == "router     | timestamp=1 level=info process=router event=listening"
    assert second.startswith("penstock   | timestamp=2")
    assert second.endswith(' level=info process=penstock event="router is ready"')


def test_a_stalled_reader_delays_nobody_and_is_shown_what_it_missed() -> None:
    """With a full pipe lines are dropped; once it is read again, the rest comes in order, with the number missing."""
    reading, writing = os.pipe()
    log = MergedLog(["router"], writing, lines_max=10)
    line = "x" * 4096
    for number in range(100):
        log.write("router", f"{number} {line}")
    written: list[str] = []
    reader = threading.Thread(target=lambda: written.extend(read_all(reading)))
    reader.start()
    log.close(timeout_s=30)
    os.close(writing)
    reader.join()
    lines = [int(text.removeprefix("router   | ").split()[0]) for text in written if text.startswith("router")]
    dropped = [int(text.rpartition("lines=")[2]) for text in written if text.startswith("penstock")]
    assert lines == sorted(set(lines))
    assert sum(dropped) > 50
    assert len(lines) + sum(dropped) == 100


def test_a_reader_that_never_comes_back_does_not_hold_up_the_end() -> None:
    """close() returns although the pipe stays full."""
    reading, writing = os.pipe()
    log = MergedLog(["router"], writing, lines_max=10)
    for _ in range(100):
        log.write("router", "x" * 4096)
    log.close(timeout_s=0.05)
    assert os.read(reading, 6) == b"router"
    os.close(reading)
    os.close(writing)


def test_a_reader_that_died_is_no_error() -> None:
    """Lines go nowhere, and the writer goes on."""
    reading, writing = os.pipe()
    os.close(reading)
    log = MergedLog(["router"], writing, lines_max=10)
    for _ in range(100):
        log.write("router", "x")
    log.close()
    os.close(writing)

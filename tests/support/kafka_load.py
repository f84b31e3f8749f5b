"""Endless appends to a Kafka topic while something happens to its brokers, and the account of the acknowledged ones."""

import threading
from concurrent.futures import Future
from typing import Any, NamedTuple

from common.values.errors import Forked
from common.values.ids import SequencerId
from tests.support.buffer_records import read_all, record
from tests.support.wait import wait_until
from writebuffer.errors import WriterDied
from writebuffer.kafka import KafkaBackend
from writebuffer.kafka.writer import KafkaWriter

ONE = SequencerId(0)


class Progress(NamedTuple):
    """Of a load, for the message of a wait that ends without it. last_failures: the newest ones."""

    acknowledged: int
    failed: int
    writer_is_dead: bool
    last_failures: list[BaseException]


class Load:
    """Appends numbers until stopped, at most so many at a time; keeps what was acknowledged and what failed.

    Ends by itself when the writer has died.
    """

    def __init__(self, writer: KafkaWriter, at_a_time: int = 20) -> None:
        self.acknowledged: dict[int, int] = {}
        self.failed: list[BaseException] = []
        self._writer = writer
        self._room = threading.Semaphore(at_a_time)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def await_more(self, count: int, timeout_s: float, what: str = "appends are acknowledged") -> None:
        """Until so many more are acknowledged than now. Raises AssertionError at once when the writer has died."""
        wanted = len(self.acknowledged) + count
        seen = wait_until(
            self._progress,
            holds=lambda now: now.acknowledged >= wanted or now.writer_is_dead,
            timeout_s=timeout_s,
            what=f"{what}, {wanted} in all",
        )
        assert not seen.writer_is_dead, seen

    def _progress(self) -> Progress:
        return Progress(len(self.acknowledged), len(self.failed), self._writer_is_dead, self.failed[-3:])

    @property
    def _writer_is_dead(self) -> bool:
        """Its last error then is that of its thread, and every append has it."""
        return bool(self.failed) and isinstance(self.failed[-1], Forked | WriterDied)

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set() and not self._writer_is_dead:
            if self._room.acquire(timeout=0.1):
                self._writer.append(ONE, record(number)).add_done_callback(self._noter(number))
                number += 1

    def _noter(self, number: int) -> Any:
        def note(future: "Future[Any]") -> None:
            if error := future.exception():
                self.failed.append(error)
            else:
                self.acknowledged[number] = future.result().offset
            self._room.release()

        return note


def check_nothing_lost(load: Load, backend: KafkaBackend) -> None:
    """Every acknowledged record is at its acknowledged offset; these are in the order of the appends.

    One that was sent again over the broker's death may occur twice, with the same producer sequence. A broker that
    hung may still answer with the end that it knew.
    """
    newest = max(load.acknowledged.values())
    wait_until(lambda: _next_offset(backend) > newest, timeout_s=30, what=f"the topic's end is above {newest}")
    found = read_all(backend)
    at = {offset: one.headers.producer_sequence for offset, one in found}
    lost = {number: offset for number, offset in load.acknowledged.items() if at.get(offset) != number}
    assert not lost, f"acknowledged, and missing or another: {lost}"
    by_offset = sorted(load.acknowledged.items(), key=lambda item: item[1])
    assert [number for number, _ in by_offset] == sorted(load.acknowledged)


def _next_offset(backend: KafkaBackend) -> int:
    reader = backend.open_reader()
    try:
        return reader.offsets(ONE).next_offset
    finally:
        reader.close()

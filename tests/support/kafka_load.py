"""Appends without end to a Kafka topic while something happens to its brokers, and the account of what was told."""

import threading
from concurrent.futures import Future
from typing import Any

from common.ids import SequencerId
from tests.support.buffer_records import read_all, record
from writebuffer.kafka import KafkaBackend
from writebuffer.kafka.writer import KafkaWriter

ONE = SequencerId(0)


class Load:
    """Appends numbers until stopped, at most so many at a time; keeps what was acknowledged and what failed."""

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

    def has(self, count: int) -> bool:
        return len(self.acknowledged) > count

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
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
    """Every acknowledged record stands at the offset that was told, those in the order of the appends.

    One that was sent again over the broker's death may stand twice, with the same producer sequence.
    """
    found = read_all(backend)
    at = {offset: one.headers.producer_sequence for offset, one in found}
    assert all(at.get(offset) == number for number, offset in load.acknowledged.items())
    told = sorted(load.acknowledged.items(), key=lambda item: item[1])
    assert [number for number, _ in told] == sorted(load.acknowledged)

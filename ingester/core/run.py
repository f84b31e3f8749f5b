"""Records of a poll as columns: where each is plainly new, they are decided and noted all at once."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ingester.buffer.origins import Numbers, TableColumns
from ingester.following.decode import Decoded, Joined

RECORDS_MIN = 8
"""Fewer cost less one by one: numpy takes microseconds for the first."""


class Run(NamedTuple):
    """K records that follow each other, each Joined and with a producer. log_times_ns: the log's time at each.

    offsets, append_times_ns, sizes (bytes): int64[K]. sequences: uint64[K], of each record's producer.
    """

    offsets: Numbers
    checksums: tuple[int, ...]
    append_times_ns: Numbers
    producers: tuple[bytes, ...]
    sequences: npt.NDArray[np.uint64]
    tables: tuple[tuple[TableColumns, ...], ...]
    rows: tuple[int, ...]
    sizes: Numbers

    def all_tables(self) -> set[TableColumns]:
        return set(chain.from_iterable(self.tables))

    def log_times_ns(self, before_ns: int) -> Numbers:
        """The greatest append time up to each record, `before_ns` among them."""
        times = self.append_times_ns.copy()
        times[0] = max(before_ns, int(times[0]))
        found: Numbers = np.maximum.accumulate(times)
        return found

    def by_producer(self) -> list[tuple[bytes, Numbers]]:
        """Each producer, and the positions of its records."""
        numbers = {producer: number for number, producer in enumerate(dict.fromkeys(self.producers))}
        if len(numbers) == 1:
            return [(self.producers[0], np.arange(len(self.producers)))]
        of_record = np.fromiter(map(numbers.__getitem__, self.producers), np.int64, len(self.producers))
        return [(producer, np.flatnonzero(of_record == number)) for producer, number in numbers.items()]


def run_of(records: Sequence[Decoded]) -> Run | None:
    """None where they are few, where one is not Joined or has no producer, or where offsets do not ascend."""
    if len(records) < RECORDS_MIN:
        return None
    offsets, stored, checksums, times_ns, producers, sequences, contents = zip(*records, strict=True)
    if set(map(type, contents)) != {Joined} or None in producers:
        return None
    at = np.array(offsets, np.int64)
    if (at[1:] <= at[:-1]).any():
        return None
    _, tables, rows, _ = zip(*contents, strict=True)
    sizes = [len(record.header_block) + len(record.payload) for record in stored]
    times, numbers = np.array(times_ns, np.int64), np.array(sequences, np.uint64)
    return Run(at, checksums, times, producers, numbers, tables, rows, np.array(sizes, np.int64))

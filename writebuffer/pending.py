"""Calls of append on their way to the backend, and the groups in which they get there."""

from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from common.values.errors import PenstockError, Unavailable
from common.values.ids import Offset
from writebuffer.contract import Appended, AppendedRange
from writebuffer.record import Record


class Pending:
    """One call of append or append_many, until its future resolves."""

    def __init__(self, records: Sequence[Record], *, single: bool = False) -> None:
        self._records = records
        self._grouped = 0
        self._durable_count = 0
        self._single = single
        self._first: Offset | None = None
        self.future: Future[Any] = Future()
        # Running from the start: a caller's cancel() changes nothing and cannot get in the way of the result.
        self.future.set_running_or_notify_cancel()

    def left(self) -> Sequence[Record]:
        """The records that are in no group yet."""
        return self._records[self._grouped :] if self._grouped else self._records

    def grouped(self, count: int) -> None:
        """The next `count` records are in a group."""
        self._grouped += count

    def ungrouped(self, count: int) -> None:
        """The last `count` of those that were in a group are in none any more: they are to be sent again."""
        self._grouped -= count

    def mark_durable(self, first_offset: Offset, count: int) -> bool:
        """The next `count` records are durable, from `first_offset`; whether these were the last, and it resolved."""
        self._first = first_offset if self._first is None else self._first
        self._durable_count += count
        if self._durable_count < len(self._records):
            return False
        last_offset = Offset(first_offset + count - 1)
        with suppress(InvalidStateError):  # closed meanwhile
            self.future.set_result(self._result(self._first, last_offset))
        return True

    def fail(self, error: PenstockError) -> None:
        """Nothing more of it will be written. What earlier groups made durable exists, so `written` cannot be "no"."""
        if self._durable_count and isinstance(error, Unavailable):
            message = f"{error}; the first {self._durable_count} of its {len(self._records)} records are durable"
            error = caused(type(error)(message, **(error.details | {"written": "unknown"})), error.__cause__)
        with suppress(InvalidStateError):
            self.future.set_exception(error)

    def _result(self, first_offset: Offset, last_offset: Offset) -> Appended | AppendedRange:
        first = Appended(first_offset, self._records[0].append_time_ns)
        if self._single:
            return first
        return AppendedRange(first, Appended(last_offset, self._records[-1].append_time_ns))


P = TypeVar("P", bound=Pending)


@dataclass
class Group(Generic[P]):
    """Records that go to the backend together, and the calls they came from, each with the number of its records."""

    records_max: int
    bytes_max: int
    """A record over it goes alone."""
    records: list[Record] = field(default_factory=list)
    shares: list[tuple[P, int]] = field(default_factory=list)
    bytes: int = 0

    def take(self, pending: P) -> bool:
        """Take what fits of `pending`; whether that was all of it."""
        left = pending.left()
        count = 0
        for record in left:
            if not self._fits(record):
                break
            self.bytes += len(record)
            self.records.append(record)
            count += 1
        if count:
            pending.grouped(count)
            self.shares.append((pending, count))
        return count == len(left)

    def _fits(self, record: Record) -> bool:
        if len(self.records) == self.records_max:
            return False
        return not self.records or self.bytes + len(record) <= self.bytes_max


def caused(error: Unavailable, cause: BaseException | None) -> Unavailable:
    error.__cause__ = cause
    return error

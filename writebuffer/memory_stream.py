"""One sequencer of the memory backend: its records, as bytes."""

import threading
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from common.errors import Forked, Unavailable
from common.ids import Offset, SequencerId
from writebuffer.record import Record


class Stream:
    """One sequencer's records, as bytes. Used under `changed`, which is notified when a waiting poll should look."""

    def __init__(self, sequencer: SequencerId, capacity_bytes: int) -> None:
        self.sequencer = sequencer
        self.identity = uuid.uuid4().hex
        self.changed = threading.Condition()
        self.first_offset = Offset(0)
        self.durable_end = Offset(0)
        self.deleted = False
        self.holding = False
        self.held: list[tuple[Future[Any], Any]] = []
        self.kept_bytes = 0
        self._capacity_bytes = capacity_bytes
        self._records: list[bytes] = []

    @property
    def written_end(self) -> Offset:
        return Offset(self.first_offset + len(self._records))

    def add(self, records: Sequence[Record]) -> Offset:
        """Keep them; returns the first one's offset. Raises Unavailable when there is no room."""
        added = [record.to_bytes() for record in records]
        added_bytes = sum(map(len, added))
        if self.kept_bytes + added_bytes > self._capacity_bytes:
            raise Unavailable(
                f"sequencer {self.sequencer}: {self.kept_bytes} of {self._capacity_bytes} bytes are taken, "
                f"{added_bytes} more do not fit; trim it, writing then resumes",
                written="no",
                sequencer=self.sequencer,
            )
        first_offset = self.written_end
        self._records += added
        self.kept_bytes += added_bytes
        return first_offset

    def settle(self) -> None:
        """Everything added is durable now."""
        self.durable_end = self.written_end
        self.changed.notify_all()

    def trim(self, before: Offset) -> Offset:
        count = max(0, min(before, self.durable_end) - self.first_offset)
        self.kept_bytes -= sum(map(len, self._records[:count]))
        del self._records[:count]
        self.first_offset = Offset(self.first_offset + count)
        return self.first_offset

    def record(self, offset: int) -> Record:
        return Record.from_bytes(self._records[offset - self.first_offset])

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Under `changed`. Raises Forked once the buffer was deleted."""
        with self.changed:
            if self.deleted:
                raise Forked(
                    f"sequencer {self.sequencer}: the buffer was deleted since it was opened; open it anew, and start "
                    "its readers from the first offset",
                    sequencer=self.sequencer,
                )
            yield

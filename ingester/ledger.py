"""What was applied above the committed replay offset, as the manifest needs it once the replay offset has passed it.

The manifest holds producers, log time, stream mark and the duplicate and dead rows *as of the replay offset*: were
they as of the applied offset, a replay would take everything in between for duplicates. So each record leaves a mark
here until a commit has passed it.
"""

from collections import deque
from dataclasses import dataclass

from common.ids import Offset
from ingester.decode import Decoded
from ingester.persist.manifest_state import Accounts, ManifestState, StreamMark
from ingester.producers import Producers


@dataclass(frozen=True, slots=True)
class Mark:
    """One applied record. log_time_ns: the greatest append time up to it. log_bytes: all bytes up to and with it."""

    offset: Offset
    checksum: int
    producer_id: bytes | None
    producer_sequence: int
    log_time_ns: int
    log_bytes: int
    duplicate_rows: int
    dead_rows: int


@dataclass(frozen=True, slots=True)
class Settled:
    """The manifest's values as of one replay offset."""

    log_time_ns: int
    stream: StreamMark
    producers: Producers
    accounts: Accounts


class Ledger:
    """Marks of the records in [committed replay offset, applied offset), and the producers as of the applied offset."""

    def __init__(self, state: ManifestState) -> None:
        self.log_time_ns = state.log_time_ns
        self._state = state
        self._marks: deque[Mark] = deque()
        self._producers = state.producers.copy()
        self._log_bytes = 0
        self._committed_log_bytes = 0

    @property
    def log_bytes(self) -> int:
        """Bytes of log between the committed replay offset and the applied one."""
        return self._log_bytes - self._committed_log_bytes

    @property
    def accounts(self) -> Accounts:
        """The committed accounts and the duplicate and dead rows above their replay offset."""
        return _with_rows(self._state.accounts, self._marks)

    def is_duplicate(self, record: Decoded) -> bool:
        if record.producer_id is None:
            return False
        return self._producers.seen(record.producer_id, record.producer_sequence, self.log_time_ns)

    def observe(self, append_time_ns: int) -> None:
        """The log's time is the greatest append time seen: routers' clocks differ, it never goes back."""
        self.log_time_ns = max(self.log_time_ns, append_time_ns)

    def note(self, record: Decoded, duplicate_rows: int = 0, dead_rows: int = 0) -> None:
        """Mark `record` as applied."""
        self._log_bytes += record.size
        if record.producer_id is not None:
            self._producers.add(record.producer_id, record.producer_sequence, self.log_time_ns)
        self._marks.append(
            Mark(
                record.offset,
                record.checksum,
                record.producer_id,
                record.producer_sequence,
                self.log_time_ns,
                self._log_bytes,
                duplicate_rows,
                dead_rows,
            )
        )

    def settled_at(self, replay_offset: Offset) -> Settled:
        """The manifest's values once its replay offset is `replay_offset`."""
        below = [mark for mark in self._marks if mark.offset < replay_offset]
        state = self._state
        if not below:
            return Settled(state.log_time_ns, state.stream, state.producers, state.accounts)
        producers = state.producers.copy()
        for mark in below:
            if mark.producer_id is not None:
                producers.add(mark.producer_id, mark.producer_sequence, mark.log_time_ns)
        last = below[-1]
        producers.expire(last.log_time_ns)
        stream = StreamMark(state.stream.identity, last.offset, last.checksum)
        return Settled(last.log_time_ns, stream, producers, _with_rows(state.accounts, below))

    def committed(self, state: ManifestState) -> None:
        """Forget the marks that `state` has passed."""
        while self._marks and self._marks[0].offset < state.replay_offset:
            self._committed_log_bytes = self._marks.popleft().log_bytes
        self._state = state


def _with_rows(accounts: Accounts, marks: "deque[Mark] | list[Mark]") -> Accounts:
    return accounts.plus(
        duplicate=sum(mark.duplicate_rows for mark in marks), dead=sum(mark.dead_rows for mark in marks)
    )

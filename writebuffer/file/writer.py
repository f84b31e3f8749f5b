"""The file backend's Writer: one Committer for each sequencer, behind one lock for each log."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import Any

from common.errors import Unavailable
from common.ids import Offset, SequencerId
from common.logs import Logger
from writebuffer.checks import check_append, check_sequencer
from writebuffer.contract import Appended, AppendedRange
from writebuffer.errors import Closed
from writebuffer.file.committer import Committer
from writebuffer.pending import Pending
from writebuffer.record import Record

_CLOSE_S = 30.0


class FileWriter:
    """Appends by group commit. Implements Writer, Durable and Trimmable."""

    def __init__(self, committers: Sequence[Committer], url: str, release: Callable[[], None], logger: Logger) -> None:
        """release: gives the locks back, called by `close` once nothing of this writer can write any more."""
        self._committers = committers
        self._url = url
        self._release = release
        self._logger = logger
        self._closed = False

    def sequencers(self) -> Sequence[SequencerId]:
        return [SequencerId(number) for number in range(len(self._committers))]

    def append(self, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        return self._submit(sequencer, Pending([record], single=True), [record])

    def append_many(self, sequencer: SequencerId, records: Sequence[Record]) -> "Future[AppendedRange]":
        kept = list(records)
        return self._submit(sequencer, Pending(kept), kept)

    def flush(self, timeout_s: float) -> None:
        self._check_open()
        passing = [Pending([]) for _ in self._committers]
        for committer, pending in zip(self._committers, passing, strict=True):
            committer.submit(pending)
        late = wait([pending.future for pending in passing], timeout_s).not_done
        if late:
            raise Unavailable(
                f"{self._url}: {len(late)} of {len(passing)} sequencers did not finish their appends in {timeout_s} s",
                written="unknown",
            )

    def close(self) -> None:
        """As the contract says, waiting 30 s for each sequencer's disk.

        Where a disk still hangs then, this process keeps the locks and the open files until it ends: a sync that
        returns late publishes its group, over whatever another writer would have published meanwhile.
        """
        if self._closed:
            return
        self._closed = True
        hanging = [number for number, committer in enumerate(self._committers) if not committer.close(_CLOSE_S)]
        if hanging:
            self._logger.error("closed over a hanging disk; keeps the lock", url=self._url, sequencers=hanging)
        else:
            self._release()

    def durability(self) -> str:
        return "fdatasync of each group before any of it is acknowledged"

    def trim(self, sequencer: SequencerId, before: Offset) -> Offset:
        """Removes whole sealed segments, never the newest. Raises Unavailable, DataCorrupt."""
        self._check_open()
        check_sequencer(sequencer, len(self._committers))
        try:
            return self._committers[sequencer].trim(before)
        except OSError as error:
            raise Unavailable(f"{self._url}: sequencer {sequencer}: trim failed: {error}", written="unknown") from error

    def _submit(self, sequencer: SequencerId, pending: Pending, records: Sequence[Record]) -> "Future[Any]":
        self._check_open()
        check_append(sequencer, len(self._committers), records)
        self._committers[sequencer].submit(pending)
        return pending.future

    def _check_open(self) -> None:
        if self._closed:
            raise Closed(f"{self._url}: the writer was closed")

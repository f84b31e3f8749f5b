"""The file backend's Writer: one Committer and one lock for each sequencer's log."""

from collections.abc import Callable, Sequence

from common.logs import Logger
from common.values.errors import Unavailable
from common.values.ids import Offset, SequencerId
from writebuffer.file.committer import Committer
from writebuffer.grouping import GroupedWriter


class FileWriter(GroupedWriter):
    """Appends by group commit. Implements Writer, Durable and Trimmable.

    Where a disk still hangs when `close` gives up, this process keeps the locks and the open files until it ends: a
    sync that returns late writes the horizon, and would replace one that another writer had written meanwhile.
    """

    def __init__(
        self,
        committers: Sequence[Committer],
        url: str,
        release: Callable[[], None],
        logger: Logger,
        close_s: float,
    ) -> None:
        """release: gives the locks back. close_s: as of GroupedWriter."""
        super().__init__(url, committers, release, close_s=close_s, logger=logger)
        self._committers = committers

    def durability(self) -> str:
        return "fdatasync of each group before any of it is acknowledged"

    def trim(self, sequencer: SequencerId, before: Offset) -> Offset:
        """Removes whole sealed segments, never the newest. Raises Unavailable, DataCorrupt."""
        self.check(sequencer)
        try:
            return self._committers[sequencer].trim(before)
        except OSError as error:
            raise Unavailable(f"{self._url}: sequencer {sequencer}: trim failed: {error}", written="unknown") from error

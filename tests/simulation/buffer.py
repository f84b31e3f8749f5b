"""The write buffer as one process meets it: the memory backend, away now and then."""

from collections.abc import Sequence

from common.errors import Unavailable
from common.ids import Offset, SequencerId
from tests.simulation.chaos import Chaos
from writebuffer.contract import Batch, Cursor, Offsets, Reader


class FlakyReader:
    """A Reader whose calls may raise Unavailable."""

    def __init__(self, reader: Reader, chaos: Chaos) -> None:
        self._reader = reader
        self._chaos = chaos

    def sequencers(self) -> Sequence[SequencerId]:
        return self._reader.sequencers()

    def reader(self, sequencer: SequencerId) -> Cursor:
        self.fail_now_and_then()
        return FlakyCursor(self._reader.reader(sequencer), self)

    def offsets(self, sequencer: SequencerId) -> Offsets:
        self.fail_now_and_then()
        return self._reader.offsets(sequencer)

    def identity(self, sequencer: SequencerId) -> str:
        self.fail_now_and_then()
        return self._reader.identity(sequencer)

    def close(self) -> None:
        self._reader.close()

    def fail_now_and_then(self) -> None:
        if self._chaos.read_fails():
            raise Unavailable("write buffer: injected")


class FlakyCursor:
    """A Cursor; one that failed stays where it stood."""

    def __init__(self, cursor: Cursor, reader: FlakyReader) -> None:
        self._cursor = cursor
        self._reader = reader

    def seek(self, offset: Offset) -> None:
        self._cursor.seek(offset)

    def seek_to_first(self) -> None:
        self._cursor.seek_to_first()

    def seek_to_next(self) -> None:
        self._cursor.seek_to_next()

    def poll(self, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        self._reader.fail_now_and_then()
        return self._cursor.poll(max_records, max_bytes, 0)

    def close(self) -> None:
        self._cursor.close()

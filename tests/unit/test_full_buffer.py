"""A buffer without room for all of one append_many: what its failure says about what is stored."""

import pytest

from common.values.errors import Unavailable
from common.values.ids import SequencerId
from tests.support.buffer_records import read_all
from tests.support.crash_disk import CrashDisk
from writebuffer.conformance.samples import record_of_bytes
from writebuffer.contract import Backend
from writebuffer.file import FileBackend
from writebuffer.memory import MemoryBackend
from writebuffer.record import RECORD_BYTES_MAX

ROOM_BYTES = 11 * RECORD_BYTES_MAX


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_an_append_many_that_fails_halfway_does_not_deny_what_is_stored(kind: str) -> None:
    """`written: no` means that none of its records is stored; as soon as one is, it is unknown."""
    backend = _cramped(kind)
    backend.create(1)
    writer = backend.open_writer()
    records = [record_of_bytes(number, 900_000) for number in range(18)]
    error = writer.append_many(SequencerId(0), records).exception(20)
    writer.close()
    assert isinstance(error, Unavailable)
    assert error.written == ("unknown" if read_all(backend) else "no")


def _cramped(kind: str) -> Backend:
    if kind == "memory":
        return MemoryBackend(capacity_bytes=ROOM_BYTES)
    disk = CrashDisk()
    disk.space_bytes = ROOM_BYTES
    return FileBackend("/log", disk, segment_bytes=20_000)

"""A disk with less room than a whole segment still takes what fits."""

import pytest

from common.values.errors import Unavailable
from tests.support.buffer_records import numbers, read_from, records
from tests.support.file_log import OneLog


def test_less_room_than_a_segment_is_no_reason_to_refuse() -> None:
    """Smaller segments are made as long as a batch fits; then the refusal says that nothing was written."""
    log = OneLog(segment_bytes=1_000_000)
    log.disk.space_bytes = log.disk.used_bytes() + 100_000
    writer = log.open()
    written = 8
    for number in range(written):
        writer.commit(records([number], 10_000))
    with pytest.raises(Unavailable) as refused:
        writer.commit(records([written, written + 1], 10_000))
    assert refused.value.written == "no"
    log.disk.space_bytes = None
    writer.commit(records([written], 10_000))
    writer.close()
    cursor = log.backend.open_reader().cursor(0)
    assert numbers(one for _, one in read_from(cursor, written + 1)) == list(range(written + 1))

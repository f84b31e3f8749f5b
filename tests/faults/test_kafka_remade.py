"""Topics that were deleted, and made again, under who had them open."""

from collections.abc import Sequence

import pytest

from common.values.errors import Forked
from common.values.ids import Offset, SequencerId
from tests.support.buffer_records import read_from, record, records
from tests.support.kafka_place import EVERYTHING, ONE, KafkaPlace
from tests.support.wait import wait_until
from writebuffer.contract import SequencedRecord

OTHER = SequencerId(1)


@pytest.mark.parametrize("again", [0, 1, 10], ids=["empty", "shorter", "longer"])
def test_nothing_of_another_topic_of_that_name_is_returned(place: KafkaPlace, again: int) -> None:
    """A cursor that was reading raises Forked once the topic was deleted and made again, with any records."""
    place.backend.create(1)
    writer, reader = place.backend.open_writer(), place.backend.open_reader()
    writer.append_many(ONE, records(range(3))).result(10)
    cursor = reader.cursor(ONE)
    assert len(read_from(cursor, 3)) == 3
    writer.close()
    place.remake()
    if again:
        other = place.backend.open_writer()
        other.append_many(ONE, records(range(100, 100 + again))).result(10)
        other.close()
    with pytest.raises(Forked, match="made again"):
        wait_until(lambda: cursor.poll(*EVERYTHING, 0.2).records, holds=_fail_on_records)
    for act in (lambda: reader.offsets(ONE), lambda: cursor.seek_to_next(), lambda: reader.trim(ONE, Offset(1))):
        with pytest.raises(Forked):
            act()
    reader.close()


def test_a_deleted_topic_is_forked(place: KafkaPlace) -> None:
    """For a waiting cursor within seconds, for a writer as soon as it would acknowledge."""
    place.backend.create(1)
    writer, reader = place.backend.open_writer(), place.backend.open_reader()
    cursor = reader.cursor(ONE)
    place.backend.delete()
    with pytest.raises(Forked, match="deleted"):
        cursor.poll(*EVERYTHING, 20)
    assert isinstance(writer.append(ONE, record(1)).exception(30), Forked)
    assert isinstance(writer.append(ONE, record(2)).exception(1), Forked)
    writer.close()
    reader.close()


def test_a_writer_does_not_go_on_in_another_topic_of_that_name(place: KafkaPlace) -> None:
    """Not on a sequencer either to which it had not appended before the topic was made again."""
    place.backend.create(2)
    before = place.backend.open_writer()
    before.append_many(OTHER, records(range(3))).result(10)
    before.close()
    writer = place.backend.open_writer()
    writer.append(ONE, record(0)).result(10)
    place.backend.delete()
    place.backend.create(2)
    assert isinstance(writer.append(OTHER, record(3)).exception(30), Forked)
    writer.close()


def _fail_on_records(found: Sequence[SequencedRecord]) -> bool:
    assert not found, f"records of another topic: {found}"
    return False

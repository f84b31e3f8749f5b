"""The Kafka writer over a producer that says what no real broker can be made to say on time."""

import pytest
from confluent_kafka import KafkaError

from common.values.errors import Forked, Unavailable
from common.values.ids import SequencerId
from tests.support.buffer_records import record, records
from tests.support.kafka_fakes import FakeWriting
from tests.support.wait import wait_until
from writebuffer.errors import WriterDied

ONE, OTHER = SequencerId(0), SequencerId(1)
FATAL = KafkaError(KafkaError._FATAL, "the broker forgot this producer", True)
REFUSED = KafkaError(KafkaError._TRANSPORT, "Connection refused")


def test_a_record_that_is_stored_without_its_offset_is_unknown() -> None:
    """A success of librdkafka without an offset (the broker had the record) fails the future; later ones succeed."""
    with FakeWriting.opened() as at:
        future = at.writer.append(ONE, record(0))
        at.producer.report(None)
        error = future.exception(10)
        assert isinstance(error, Unavailable)
        assert error.written == "unknown"
        assert "the record exists" in error.message
        later = at.writer.append(ONE, record(1))
        at.producer.report(1)
        assert later.result(10).offset == 1


@pytest.mark.parametrize("offsets", [(None, 1, 2), (0, None, 2), (0, 1, None)])
def test_of_many_records_one_without_its_offset_makes_all_unknown(offsets: tuple[int | None, ...]) -> None:
    """With any of them; every report is read."""
    with FakeWriting.opened() as at:
        future = at.writer.append_many(ONE, records(range(3)))
        for offset in offsets:
            at.producer.report(offset)
        error = future.exception(10)
        assert isinstance(error, Unavailable)
        assert error.written == "unknown"


def test_offsets_that_are_only_counted_on_from_none_are_none() -> None:
    """librdkafka gives a batch that was there already None, 0, 1: nothing is acknowledged there, and nothing Forked."""
    for before in (0, 5):
        with FakeWriting.opened(records=before) as at:
            futures = [at.writer.append(ONE, record(0)), at.writer.append_many(ONE, records(range(1, 3)))]
            futures += [at.writer.append(ONE, record(number)) for number in (3, 4)]
            for offset in (None, 0, 1, 2):
                at.producer.report(offset)
            errors = [future.exception(10) for future in futures[:3]]
            assert [type(error) for error in errors] == [Unavailable] * 3, errors
            assert [getattr(error, "written", None) for error in errors] == ["unknown"] * 3
            at.producer.report(before + 4)
            assert futures[3].result(10).offset == before + 4


def test_a_question_without_an_answer_holds_up_no_report() -> None:
    """While the topic's id is not answered, failures are reported at once, acknowledgements after a second."""
    with FakeWriting.opened() as at:
        at.clock.advance(2)
        at.cluster.answering.clear()
        failing, stored = at.writer.append(ONE, record(0)), at.writer.append(ONE, record(1))
        assert at.cluster.asked.wait(10)
        at.producer.report(error=KafkaError(KafkaError._MSG_TIMED_OUT))
        at.producer.report(0)
        assert isinstance(failing.exception(5), Unavailable)
        assert not stored.done()
        at.clock.advance(1.1)
        assert stored.result(5).offset == 0


def test_nothing_is_reported_of_a_topic_that_was_made_again() -> None:
    """The question is answered after the report has come: the append is still Forked, and the writer ends."""
    with FakeWriting.opened() as at:
        at.clock.advance(2)
        at.cluster.answering.clear()
        at.cluster.topic_id = "another"
        future = at.writer.append(ONE, record(0))
        at.producer.report(0)
        assert at.cluster.asked.wait(10)
        at.cluster.answering.set()
        assert isinstance(future.exception(10), Forked)
        assert isinstance(at.writer.append(ONE, record(1)).exception(10), Forked)


def test_an_append_below_what_was_there_at_the_opening_is_forked() -> None:
    """Also in a sequencer that this writer has not appended to before."""
    with FakeWriting.opened(records=5) as at:
        first, other = at.writer.append(ONE, record(0)), at.writer.append(OTHER, record(1))
        at.producer.report(5)
        at.producer.report(4)
        assert first.result(10).offset == 5
        error = other.exception(10)
        assert isinstance(error, Forked)
        assert (error.sequencer, error.offset, error.newest) == (1, 4, 4)


def test_after_a_lost_connection_acknowledgements_wait_for_the_answer() -> None:
    """However long it takes up to 30 s; then they fail as unknown, and the writer goes on."""
    with FakeWriting.opened() as at:
        at.cluster.answering.clear()
        at.producer.happens(lambda: at.log.trouble(REFUSED))
        future, late = at.writer.append(ONE, record(0)), at.writer.append(ONE, record(1))
        assert at.cluster.asked.wait(10)
        at.producer.report(0)
        at.clock.advance(10)
        assert not future.done()
        at.cluster.answering.set()
        assert future.result(10).offset == 0
        at.producer.report(1)
        assert late.result(10).offset == 1


def test_what_cannot_be_made_sure_of_is_unknown_in_the_end() -> None:
    """An acknowledgement is not held for ever by a cluster that does not say whether it lost records."""
    with FakeWriting.opened() as at:
        at.cluster.answering.clear()
        at.producer.happens(lambda: at.log.trouble(REFUSED))
        future = at.writer.append(ONE, record(0))
        assert at.cluster.asked.wait(10)
        at.producer.report(0)
        wait_until(lambda: at.writer._held)
        at.clock.advance(31)
        error = future.exception(10)
        assert isinstance(error, Unavailable)
        assert error.written == "unknown"


def test_a_fatal_error_ends_the_writer_with_anything_after_it() -> None:
    """The last trouble is not the one that counts."""
    with FakeWriting.opened() as at:
        future = at.writer.append(ONE, record(0))

        def both() -> None:
            at.log.trouble(FATAL)
            at.log.trouble(REFUSED)

        at.producer.happens(both)
        error = future.exception(10)
        assert isinstance(error, WriterDied)
        assert "forgot this producer" in str(error)


def test_a_fatal_error_of_produce_or_of_a_report_ends_the_writer() -> None:
    """Where librdkafka says it there first: the append fails as WriterDied, and so does every later one."""
    for by_report in (True, False):
        with FakeWriting.opened() as at:
            at.producer.refusal = None if by_report else FATAL
            future = at.writer.append(ONE, record(0))
            if by_report:
                at.producer.report(error=FATAL)
            error = future.exception(10)
            assert isinstance(error, WriterDied)
            assert error.written == ("unknown" if by_report else "no")
            last = wait_until(lambda at=at: at.writer.append(ONE, record(1)).exception(0.05), holds=_died)  # type: ignore[misc]
            assert "forgot this producer" in str(last)


def test_an_append_that_a_setting_refuses_is_unavailable_with_the_advice() -> None:
    """The caller keeps its record and tries again; what to mend is in the message."""
    with FakeWriting.opened() as at:
        future = at.writer.append(ONE, record(0))
        at.producer.report(error=KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
        error = future.exception(10)
        assert isinstance(error, Unavailable)
        assert error.written == "unknown"
        assert "rights on the topic" in error.message


def test_an_absent_topic_is_forked_only_where_the_cluster_says_so_when_asked() -> None:
    """One broker's word in a report is not enough: one that hung may not have heard of the topic yet."""
    with FakeWriting.opened() as at:
        for topic_id, kind in (("id", Unavailable), ("another", Forked)):
            at.clock.advance(0.5)
            at.cluster.topic_id = topic_id
            future = at.writer.append(ONE, record(0))
            at.producer.report(error=KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
            error = future.exception(10)
            assert type(error) is kind, error
            assert getattr(error, "written", "unknown") == "unknown"


def test_a_time_out_says_what_the_connection_met() -> None:
    """librdkafka's time-out of a message alone would give no reason."""
    with FakeWriting.opened() as at:
        future = at.writer.append(ONE, record(0))
        at.producer.happens(lambda: at.log.trouble(REFUSED))
        at.producer.report(error=KafkaError(KafkaError._MSG_TIMED_OUT))
        assert "Connection refused" in str(future.exception(10))


def _died(error: BaseException | None) -> bool:
    return isinstance(error, WriterDied)

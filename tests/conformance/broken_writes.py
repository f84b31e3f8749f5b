"""Writers that break the contract on purpose (broken.py)."""

import math
import threading
import time
from concurrent.futures import Future, wait
from typing import Any

from common.values.errors import Unavailable
from common.values.ids import Offset, SequencerId
from tests.conformance.faulty import Fault, pass_on, then
from writebuffer.contract import Appended
from writebuffer.errors import WriterDied
from writebuffer.record import Record


class ResolvesBeforeDurable(Fault):
    group = "durable_only"
    caught_by = {
        "test_nothing_is_acknowledged_before_it_is_durable": "an append resolved before its record was durable",
    }

    def on_append(self, writer: Any, append: Any, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        end = writer.ends = max(getattr(writer, "ends", 0), self.backend.open_reader().offsets(sequencer).next_offset)
        append(sequencer, record)
        writer.ends += 1
        future: Future[Appended] = Future()
        future.set_result(Appended(end, record.append_time_ns))
        return future


class AcknowledgesBeforeTheSync(ResolvesBeforeDurable):
    base = "file"


class ReturnsWhatIsNotDurable(Fault):
    group = "durable_only"
    caught_by = {
        "test_a_reader_sees_only_what_is_durable": "a record was read that is not durable yet",
        "test_next_offset_is_the_durable_end": "next offset counts a record that is not durable",
        "test_a_blocked_poll_wakes_when_what_was_held_back_is_durable": "a poll returned while",
    }

    def on_append(self, writer: Any, append: Any, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        future: Future[Appended] = append(sequencer, record)
        if not future.done():
            stream = writer._streams[sequencer]
            with stream.changed:
                stream.settle(stream.written_end)
                stream.changed.notify_all()
        return future


class TellsTheServersTime(Fault):
    group = "headers"
    caught_by = {"test_append_time_is_the_records_own": "the future has the append time"}

    def on_append(self, writer: Any, append: Any, *call: Any) -> "Future[Appended]":
        return then(append(*call), lambda appended: Appended(appended.offset, time.time_ns()))


class DropsLargePayloads(Fault):
    group = "batching"
    caught_by = {"test_records_of_every_size_come_back": "records were read with other sizes"}

    def on_append(self, writer: Any, append: Any, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        kept = record if len(record) < 70_000 else Record(record.header_block, b"")
        future: Future[Appended] = append(sequencer, kept)
        return future


class LetsAFutureBeCancelled(Fault):
    group = "batching"
    caught_by = {"test_cancelling_changes_nothing_about_the_record": "a future said that its append was cancelled"}

    def on_append(self, writer: Any, append: Any, *call: Any) -> "Future[Appended]":
        real: Future[Appended] = append(*call)
        if threading.current_thread() is not threading.main_thread():
            return real
        future: Future[Appended] = Future()

        def resolve() -> None:
            if future.set_running_or_notify_cancel():
                pass_on(real, future)

        threading.Timer(0.02, resolve).start()
        return future


class ResolvesLaterAppendsFirst(Fault):
    group = "batching"
    caught_by = {"test_futures_resolve_in_the_order_of_the_appends": "resolved before an earlier one of their writer"}

    def on_append(self, writer: Any, append: Any, *call: Any) -> "Future[Appended]":
        """Every other one is acknowledged a little later than it was durable."""
        real: Future[Appended] = append(*call)
        writer.calls = getattr(writer, "calls", 0) + 1
        if writer.calls % 2:
            return real
        late: Future[Appended] = Future()
        late.set_running_or_notify_cancel()
        threading.Timer(0.02, lambda: pass_on(real, late)).start()
        return late


class ReordersTheAppendsOfOneWriter(Fault):
    group = "one_stream"
    caught_by = {
        "test_append_many_keeps_the_order_of_its_records": "read in another order",
        "test_append_and_append_many_in_turn_keep_the_order_of_the_calls": "another order than that of the calls",
    }

    def on_append_many(self, writer: Any, append_many: Any, sequencer: SequencerId, records: Any) -> "Future[Any]":
        kept = list(records)
        future: Future[Any] = append_many(sequencer, kept[:1] + kept[1:][::-1])
        return future


class MixesSequencers(Fault):
    group = "sequencers"
    caught_by = {
        "test_sequencers_are_isolated": "sequencer 0 does not hold exactly what was appended to it",
        "test_appends_to_several_sequencers_at_once_go_where_they_were_sent": "other records than were sent to it",
    }

    def on_append(self, writer: Any, append: Any, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        last = len(writer.sequencers()) - 1
        future: Future[Appended] = append(SequencerId(0) if sequencer == last == 15 else sequencer, record)
        return future


class RefusesAFlushWithoutTime(Fault):
    group = "closing"
    caught_by = {
        "test_a_flush_with_nothing_pending_returns_at_once": "flush(0) with nothing pending raised Unavailable"
    }

    def on_flush(self, writer: Any, flush: Any, timeout_s: float) -> None:
        if not timeout_s:
            raise Unavailable("too late")
        flush(timeout_s)


class OverflowsOnAnEndlessFlush(Fault):
    group = "closing"
    caught_by = {"test_a_flush_may_be_given_any_time": "OverflowError"}

    def on_flush(self, writer: Any, flush: Any, timeout_s: float) -> None:
        if timeout_s is not None and timeout_s > threading.TIMEOUT_MAX:
            raise OverflowError("timestamp too large to convert to C _PyTime_t")
        flush(timeout_s)


class FlushesWithoutANumberOfSeconds(Fault):
    group = "closing"
    caught_by = {"test_a_flush_without_a_number_of_seconds_is_refused": "DID NOT RAISE InvalidRequest"}

    def on_flush(self, writer: Any, flush: Any, timeout_s: float) -> None:
        flush(timeout_s if timeout_s == timeout_s and timeout_s is not None else 0.0)


class ClosesOneSequencerAfterTheOther(Fault):
    group = "closing"
    hangs = True
    caught_by = {"test_sequencers_that_hang_hold_a_close_up_once": "1 of 1 futures neither resolved nor failed"}

    def on_append(self, writer: Any, append: Any, *call: Any) -> "Future[Appended]":
        future: Future[Appended] = append(*call)
        writer.__dict__.setdefault("futures", []).append(future)
        return future

    def on_close(self, writer: Any, close: Any) -> None:
        if hasattr(writer, "futures"):
            for future in writer.futures[-len(writer.sequencers()) :]:
                wait([future], 0.2)
        close()


class FlushesOnAfterItWasClosed(Fault):
    group = "closing"
    hangs = True
    caught_by = {
        "test_a_flush_of_any_length_ends_when_its_writer_is_closed": "1 of 1 futures neither resolved nor failed",
    }

    def on_flush(self, writer: Any, flush: Any, timeout_s: float) -> None:
        try:
            flush(timeout_s)
        finally:
            if timeout_s == math.inf and any(stream.holding for stream in writer._streams):
                threading.Event().wait(10 * 60)


class HangsFuturesOnClose(Fault):
    group = "closing"
    hangs = True
    caught_by = {
        "test_no_future_hangs_when_closed_over_what_cannot_become_durable": "20 of 20 futures neither resolved",
    }

    def on_append(self, writer: Any, append: Any, *call: Any) -> "Future[Appended]":
        real: Future[Appended] = append(*call)
        return real if real.done() else Future()


class AcceptsAnUnknownSequencer(Fault):
    group = "wrong_calls"
    caught_by = {"test_an_unknown_sequencer_is_named": "DID NOT RAISE UnknownSequencer"}

    def on_append(self, writer: Any, append: Any, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        future: Future[Appended] = append(SequencerId(sequencer % len(writer.sequencers())), record)
        return future


class TakesALateRecordForARepeat(Fault):
    group = "duplicates"
    caught_by = {
        "test_sequences_may_come_out_of_order": "not those that the futures resolved to",
        "test_a_repeat_after_later_records_is_one_or_says_so": "not those that the futures resolved to",
    }

    def on_append(self, writer: Any, append: Any, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        """Remembers only the newest sequence of each producer."""
        newest = self.backend.__dict__.setdefault("newest", {})
        headers = record.headers
        key = (sequencer, headers.producer_id)
        seen, future = newest.get(key, (-1, None))
        if headers.producer_sequence <= seen:
            repeated: Future[Appended] = future
            return repeated
        future = append(sequencer, record)
        newest[key] = (headers.producer_sequence, future)
        return future


class TellsARepeatAnotherPlace(Fault):
    group = "faults"
    caught_by = {
        "test_what_is_sent_again_after_a_lost_acknowledgement_exists": "an offset at which its record is not read"
    }

    def on_append(self, writer: Any, append: Any, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        """Knows that it has the record already, and answers with the next offset."""
        known = self.backend.__dict__.setdefault("known", set())
        future: Future[Appended] = append(sequencer, record)
        if record in known:
            return then(future, lambda appended: Appended(Offset(appended.offset + 1), appended.append_time_ns))
        known.add(record)
        return future


class HangsWhenItsThreadDies(Fault):
    group = "dead_threads"
    base = "file"
    hangs = True
    caught_by = {
        "test_flush_and_close_return": "1 of 1 futures neither resolved nor failed",
        "test_what_is_under_way_fails_when_the_thread_dies": "10 of 20 futures neither resolved nor failed",
    }

    def on_break_writer(self, backend: Any, break_writer: Any, writer: Any, cause: Exception) -> None:
        writer.append = lambda *_: Future()


class SaysOfWhatMayStandThatItDoesNot(Fault):
    group = "dead_threads"
    base = "file"
    caught_by = {"test_what_is_under_way_fails_when_the_thread_dies": "each must fail with written='unknown', got"}

    def on_append(self, writer: Any, append: Any, *call: Any) -> "Future[Appended]":
        return then(append(*call), change_error=self._not_written)

    def _not_written(self, error: BaseException) -> BaseException:
        if not isinstance(error, WriterDied):
            return error
        changed = WriterDied(str(error), written="no")
        changed.__cause__ = error.__cause__
        return changed


class LosesARecordBetweenThreads(Fault):
    group = "together"
    caught_by = {
        "test_each_threads_appends_keep_their_order": "not every record was read exactly once",
        "test_readers_that_follow_while_threads_write_see_the_same_sequence": "not every record was read exactly once",
    }

    def on_append(self, writer: Any, append: Any, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        if threading.current_thread() is not threading.main_thread() and record.headers.producer_sequence == 150:
            future: Future[Appended] = append(sequencer, Record.of(record.headers._replace(producer_sequence=151), b""))
            return future
        other: Future[Appended] = append(sequencer, record)
        return other

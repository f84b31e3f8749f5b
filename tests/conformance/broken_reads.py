"""Readers and cursors that break the contract on purpose (broken.py)."""

import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from common.values.ids import Offset, SequencerId
from tests.conformance.faulty import Fault
from writebuffer.contract import Batch, Offsets
from writebuffer.errors import OffsetInFuture, OffsetTrimmed
from writebuffer.reading import StreamState
from writebuffer.record import Record

BIG = 2**40


class SkipsARecordAtTheEdgeOfABatch(Fault):
    group = "cursors"
    hangs = True
    caught_by = {
        "test_a_cursor_recreated_anywhere_goes_on_at_the_exact_next_record": "lost or repeated records",
        "test_polls_in_small_steps_return_every_record_once": "of 34 durable records came",
    }

    def on_poll(self, cursor: Any, poll: Any, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        batch: Batch = poll(max_records, max_bytes, timeout_s)
        if len(batch.records) == max_records > 1:
            return Batch(batch.records, poll(1, 1, 0).next_offset)
        return batch


class RepeatsARecordThatWasReadAhead(Fault):
    group = "cursors"
    caught_by = {"test_polls_in_small_steps_return_every_record_once": "skipped or repeated records at the edges"}

    def on_poll(self, cursor: Any, poll: Any, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        batch: Batch = poll(max_records, max_bytes, timeout_s)
        if len(batch.records) == max_records > 1:
            cursor.seek(batch.records[-1].offset)
        return batch


class IgnoresMaxBytes(Fault):
    group = "cursors"
    caught_by = {"test_a_backlog_is_read_whole_with_few_bytes_a_poll": "a poll of max_bytes=1000 returned 120 records"}

    def on_poll(self, cursor: Any, poll: Any, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        batch: Batch = poll(max_records, BIG, timeout_s)
        return batch


class SharesItsPositionBetweenCursors(Fault):
    group = "cursors"
    hangs = True
    caught_by = {"test_cursors_of_one_reader_share_nothing": "only 2 of 3 durable records came"}

    def on_cursor(self, reader: Any, open_cursor: Any, sequencer: SequencerId) -> Any:
        if not hasattr(reader, "only_cursor"):
            reader.only_cursor = open_cursor(sequencer)
        return reader.only_cursor


class BlocksASecondReader(Fault):
    group = "cursors"
    hangs = True
    caught_by = {"test_a_blocked_cursor_delays_no_other": "1 of 1 futures neither resolved nor failed"}

    def __init__(self, backend: Any) -> None:
        super().__init__(backend)
        self.turn = threading.Lock()

    def on_poll(self, cursor: Any, poll: Any, *limits: Any) -> Batch:
        with self.turn:
            batch: Batch = poll(*limits)
            return batch


class LosesTheTraceContext(Fault):
    group = "headers"
    caught_by = {
        "test_trace_context_survives": "trace parents were read as ['', '']",
        "test_headers_of_every_shape_survive": "the headers were read as",
    }

    def on_poll(self, cursor: Any, poll: Any, *limits: Any) -> Batch:
        batch = poll(*limits)
        return Batch([one._replace(record=_without_trace(one.record)) for one in batch.records], batch.next_offset)


class MovesTheCursorOnAFailedPoll(Fault):
    group = "trim"
    hangs = True
    caught_by = {"test_a_cursor_below_a_trim_raises_and_goes_on_after_a_seek": "DID NOT RAISE OffsetTrimmed"}

    def on_poll(self, cursor: Any, poll: Any, *limits: Any) -> Batch:
        try:
            batch: Batch = poll(*limits)
        except OffsetTrimmed:
            cursor.seek_to_first()
            raise
        return batch


class JumpsOverWhatWasTrimmed(Fault):
    group = "trim"
    hangs = True
    caught_by = {
        "test_a_cursor_below_a_trim_raises_and_goes_on_after_a_seek": "DID NOT RAISE OffsetTrimmed",
        "test_a_cursor_in_the_middle_of_what_was_trimmed_skips_nothing": "records were skipped without OffsetTrimmed",
    }

    def on_poll(self, cursor: Any, poll: Any, *limits: Any) -> Batch:
        try:
            batch: Batch = poll(*limits)
        except OffsetTrimmed:
            cursor.seek_to_first()
            batch = poll(*limits)
        return batch


class TrimsMoreThanAsked(Fault):
    group = "trim"
    caught_by = {"test_trimming_removes_at_most_what_was_asked": "trim(before=1) left 2 as the first offset"}

    def on_trim(self, writer: Any, trim: Any, sequencer: SequencerId, before: Offset) -> Offset:
        first_offset: Offset = trim(sequencer, Offset(before + 1) if before else before)
        return first_offset


class AcceptsASeekPastNext(Fault):
    group = "seek"
    caught_by = {"test_seeking_past_next_is_refused_and_moves_nothing": "DID NOT RAISE OffsetInFuture"}

    def on_seek(self, cursor: Any, seek: Any, offset: Offset) -> None:
        try:
            seek(offset)
        except OffsetInFuture:
            cursor.seek_to_next()


class RefusesASeekToNext(Fault):
    group = "seek"
    caught_by = {"test_seeking_to_the_last_record_and_to_next": "seek to 3 is past next offset 3"}

    def on_seek(self, cursor: Any, seek: Any, offset: Offset) -> None:
        end = self.backend.open_reader().offsets(SequencerId(0)).next_offset
        if offset == end:
            raise OffsetInFuture(SequencerId(0), offset, end)
        seek(offset)


class StopsAtAGap(Fault):
    group = "seek"
    base = "gapped"
    hangs = True
    caught_by = {"test_every_offset_from_first_to_next_may_be_sought": "of 8 durable records came"}

    def on_poll(self, cursor: Any, poll: Any, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        asked = cursor._offset
        batch: Batch = poll(max_records, max_bytes, timeout_s)
        if batch.records and batch.records[0].offset > asked:
            cursor.seek(asked)
            return Batch((), asked)
        return batch


class CallsAGapTrimmed(Fault):
    group = "trim"
    base = "gapped"
    caught_by = {
        "test_a_cursor_is_not_trimmed_where_it_has_read_all_that_was": "the next record is at 1, but: sequencer 0"
    }

    def on_look(self, reader: Any, look: Any, sequencer: SequencerId) -> StreamState:
        """Takes the oldest record's offset for the first one."""
        state: StreamState = look(sequencer)
        oldest = next(iter(reader._streams[sequencer].read(Offset(0), 1)), None)
        return state._replace(first_offset=oldest.offset if oldest else state.next_offset)


class SkipsWhatItCannotDo(Fault):
    group = "seek"
    caught_by = {"test_seeking_forward_and_backward": "it was skipped from within (seek is not implemented)"}

    def on_seek(self, cursor: Any, seek: Any, offset: Offset) -> None:
        pytest.skip("seek is not implemented")


class MovesTheCursorOnARefusedSeek(Fault):
    group = "seek"
    hangs = True
    caught_by = {"test_seeking_past_next_is_refused_and_moves_nothing": "only 0 of 3 durable records came"}

    def on_seek(self, cursor: Any, seek: Any, offset: Offset) -> None:
        try:
            seek(offset)
        except OffsetInFuture:
            cursor.seek_to_next()
            raise


class WakesOnlyAtTheTimeout(Fault):
    group = "waking"
    hangs = True
    caught_by = {
        "test_a_blocked_poll_wakes_at_the_append": "1 of 1 futures neither resolved nor failed",
        "test_every_blocked_cursor_wakes_at_the_append": "1 of 1 futures neither resolved nor failed",
    }

    def on_poll(self, cursor: Any, poll: Any, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        batch: Batch = poll(max_records, max_bytes, 0)
        if not batch.records and timeout_s:
            time.sleep(timeout_s)
            batch = poll(max_records, max_bytes, 0)
        return batch


class OverflowsOnAnEndlessPoll(Fault):
    group = "waking"
    caught_by = {"test_a_poll_may_be_given_any_time": "OverflowError"}

    def on_poll(self, cursor: Any, poll: Any, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        if timeout_s is not None and timeout_s > threading.TIMEOUT_MAX:
            raise OverflowError("timestamp out of range for platform time_t")
        batch: Batch = poll(max_records, max_bytes, timeout_s)
        return batch


class PollsWithoutANumberOfSeconds(Fault):
    group = "waking"
    caught_by = {"test_a_poll_without_a_number_of_seconds_is_refused": "DID NOT RAISE InvalidRequest"}

    def on_poll(self, cursor: Any, poll: Any, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        batch: Batch = poll(max_records, max_bytes, timeout_s if timeout_s == timeout_s and timeout_s else 0.0)
        return batch


class ReturnsBeforeItsTimeout(Fault):
    group = "waking"
    caught_by = {"test_a_poll_waits_for_its_timeout": "its caller spins"}

    def on_poll(self, cursor: Any, poll: Any, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        batch: Batch = poll(max_records, max_bytes, timeout_s and timeout_s / 10)
        return batch


class CountsNextTooHigh(Fault):
    group = "lag"
    hangs = True
    caught_by = {
        "test_lag_is_exact_after_each_append_and_poll": "the newest record is at 2, so next offset must be 3, got 4",
    }

    def on_offsets(self, reader: Any, offsets: Any, sequencer: SequencerId) -> Offsets:
        found: Offsets = offsets(sequencer)
        return replace(found, next_offset=Offset(found.next_offset + 1)) if found.next_offset else found


class FindsTheNewestOfEqualTimes(Fault):
    group = "time"
    hangs = True
    caught_by = {"test_of_equal_times_the_first_is_found": "only 2 of 4 durable records came"}

    def on_seek_to_time(self, cursor: Any, seek_to_time: Any, time_ns: int) -> None:
        seek_to_time(time_ns)
        while (found := cursor.poll(1, 1, 0).records) and found[0].record.append_time_ns == time_ns:
            last = found[0].offset
        if found:
            cursor.seek(found[0].offset)
        if "last" in locals():
            cursor.seek(last)


def _without_trace(record: Record) -> Record:
    return Record.of(record.headers._replace(trace_parent=""), record.payload)

"""Backends that break the contract on purpose in what outlasts a writer or a reader (broken.py)."""

import uuid
from concurrent.futures import Future
from contextlib import closing
from typing import Any

from common.values.errors import Forked, PenstockError
from common.values.ids import Offset, SequencerId
from docs.examples.sqlite_buffer import SqliteFile
from tests.conformance.faulty import Fault, then
from writebuffer.contract import Appended, Batch, Durable, Offsets, SeekableByTime
from writebuffer.errors import SequencersDiffer
from writebuffer.record import Record


class ReusesOffsetsAfterTrimming(Fault):
    group = "never_reused"
    base = "sqlite"
    caught_by = {
        "test_an_append_after_trimming_everything_goes_on": "trimming moved the next offset",
        "test_no_offset_returns_over_many_rounds": "trimming moved the next offset",
    }

    def on_trim(self, writer: Any, trim: Any, sequencer: SequencerId, before: Offset) -> Offset:
        first_offset: Offset = trim(sequencer, before)
        newest = "SELECT ifnull(max(offset) + 1, 1) FROM record WHERE sequencer = 0"
        with closing(SqliteFile("", self.backend._path)) as file, file.transaction() as db:
            db.execute(f"UPDATE stream SET next_offset = ({newest})")
            db.execute("UPDATE stream SET first_offset = min(first_offset, next_offset)")
        return first_offset


class IgnoresAnotherNumberOfSequencers(Fault):
    group = "creation"
    caught_by = {"test_creating_with_another_number_is_refused": "DID NOT RAISE SequencersDiffer"}

    def on_create(self, backend: Any, create: Any, sequencers: int) -> None:
        try:
            create(sequencers)
        except SequencersDiffer:
            return


class MakesABufferByOpeningIt(Fault):
    group = "creation"
    caught_by = {"test_opening_what_does_not_exist_says_how_to_make_it": "DID NOT RAISE BufferNotFound"}

    def on_open_reader(self, backend: Any, open_reader: Any) -> Any:
        try:
            return open_reader()
        except PenstockError:
            backend.create(1)
            return open_reader()


class LosesItsIdentityOnOpeningAgain(Fault):
    group = "identity"
    caught_by = {
        "test_identity_lasts_over_writes_and_opening_again": "opened again, it has another identity",
        "test_identity_lasts_over_trimming": "trimmed, it has another identity",
    }

    def on_identity(self, reader: Any, identity: Any, sequencer: SequencerId) -> str:
        if not hasattr(reader, "name"):
            reader.name = uuid.uuid4().hex
        return f"{reader.name}-{sequencer}"


class KeepsItsIdentityWhenMadeAgain(Fault):
    group = "identity"
    caught_by = {"test_a_recreated_buffer_has_another_identity": "deleted and created again kept its identity"}

    def on_identity(self, reader: Any, identity: Any, sequencer: SequencerId) -> str:
        return f"{self.backend.url}-{sequencer}"


class GoesOnInWhatWasMadeAgain(Fault):
    group = "identity"
    caught_by = {
        "test_an_old_writer_fails_after_the_stream_was_recreated": "deleted and created again, got None",
    }

    def on_append(self, writer: Any, append: Any, *call: Any) -> "Future[Appended]":
        future: Future[Appended] = append(*call)
        if isinstance(future.exception(), Forked):
            other: Future[Appended] = self.backend.open_writer().append(*call)
            return other
        return future


class IsSilentOnceDeleted(Fault):
    group = "identity"
    hangs = True
    caught_by = {
        "test_an_old_cursor_fails_after_the_buffer_was_deleted": "no call raised Forked",
        "test_an_old_reader_fails_after_the_buffer_was_deleted": "no call raised Forked",
    }

    def on_poll(self, cursor: Any, poll: Any, *limits: Any) -> Batch:
        try:
            cursor.last = poll(*limits)
        except Forked:
            cursor.last = Batch((), cursor.last.next_offset if hasattr(cursor, "last") else Offset(0))
        last: Batch = cursor.last
        return last

    def on_offsets(self, reader: Any, offsets: Any, sequencer: SequencerId) -> Offsets:
        try:
            found: Offsets = offsets(sequencer)
        except Forked:
            return Offsets(Offset(0), Offset(0))
        return found


class DeclaresAPowerItLacks(Fault):
    group = "powers"
    caught_by = {
        "test_a_power_is_offered_where_it_is_declared_and_nowhere_else": "Durable is declared, but no writer has",
    }

    def __init__(self, backend: Any) -> None:
        super().__init__(backend)
        backend.powers = backend.powers | {Durable}


class LeavesOffsetsOut(Fault):
    group = "offsets"
    base = "sqlite"
    caught_by = {"test_offsets_are_dense": "append_many of 500 records after 20 resolved to"}

    def on_append(self, writer: Any, append: Any, *call: Any) -> "Future[Appended]":
        future: Future[Appended] = append(*call)
        future.exception()
        with closing(SqliteFile("", self.backend._path)) as file, file.transaction() as db:
            db.execute("UPDATE stream SET next_offset = next_offset + 1")
        return future


class OffersAPowerUndeclared(Fault):
    group = "powers"
    caught_by = {
        "test_a_power_is_offered_where_it_is_declared_and_nowhere_else": "offers SeekableByTime, but `powers`",
    }

    def __init__(self, backend: Any) -> None:
        super().__init__(backend)
        backend.powers = backend.powers - {SeekableByTime}


class AcknowledgesWhatOnlyItsProcessHolds(Fault):
    group = "killed"
    base = "sqlite"
    caught_by = {
        "test_a_fresh_process_reads_all_that_a_killed_writer_acknowledged": "records are missing or different",
        "test_a_new_writer_goes_on_after_a_killed_one": "acknowledged records are missing or different",
    }

    def on_append(self, writer: Any, append: Any, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        """Written in groups of a hundred, and never the newest hundred; each future resolves at once."""
        kept = writer.__dict__.setdefault("kept", [])
        if not hasattr(writer, "at"):
            writer.at = self.backend.open_reader().offsets(sequencer).next_offset
        at = writer.at
        kept.append(record)
        if len(kept) == 200:
            writer.append_many(sequencer, kept[:100])
            del kept[:100]
        writer.at = at + 1
        future: Future[Appended] = Future()
        future.set_result(Appended(at, record.append_time_ns))
        return future


class StartsAtOne(Fault):
    group = "offsets"
    caught_by = {
        "test_writers_and_readers_agree": "read at other offsets than their futures resolved to",
        "test_next_is_one_past_the_newest": "the newest record is at 1, so next offset must be 2, got 1",
    }

    def on_append(self, writer: Any, append: Any, *call: Any) -> "Future[Appended]":
        return then(append(*call), lambda appended: Appended(Offset(appended.offset + 1), appended.append_time_ns))

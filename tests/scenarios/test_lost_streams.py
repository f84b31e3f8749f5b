"""A stream that is not what the manifest followed: a clear error, and rows are missing only where that was accepted."""

import pytest

from common.values.errors import PenstockError
from tests.scenarios.scenario import play


def test_records_trimmed_past_the_replay_offset_are_an_error() -> None:
    """By somebody's hand: nothing is passed over in silence, until the loss is accepted; then it is on record."""
    play("""
        write cpu@0, write cpu@1, write mem@0, write cpu@2, poll 1, cut cpu, persist, commit
        trim 3
        crash raises OffsetTrimmed
        crash accept-loss, expect gaps 1-3
        poll, expect value cpu@0=1, expect no value cpu@1, expect no value mem@0, expect buffered 1
    """)


def test_durable_rows_in_a_gap_are_not_lost() -> None:
    """What a file has of the records that are gone is read, and counted once; the rest of them is in the gap."""
    play("""
        write mem@0, write cpu@0 mem@1, poll, cut cpu, persist, commit, write cpu@1
        trim 2, crash accept-loss, poll
        expect gaps 0-2, expect value cpu@0=1, expect no value mem@0, expect no value mem@1
    """)


def test_the_message_says_what_is_gone_and_how_to_go_on() -> None:
    with pytest.raises(
        PenstockError, match=r"sequencer 3: offset 0 was trimmed; .* readable is 2: 2 offsets removed .*--accept-loss"
    ):
        play("write cpu@0, write cpu@1, write cpu@2, trim 2, crash")


def test_a_stream_that_was_recreated_is_forked() -> None:
    """Accepting losses does not help: another stream's offsets mean other records."""
    play("""
        write cpu@0, poll, cut cpu, persist, commit, recreate
        crash raises Forked, crash accept-loss raises Forked
        restore, crash, poll, expect rows 1
    """)

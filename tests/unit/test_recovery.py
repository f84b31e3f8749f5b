"""Where an ingester starts to read: every branch, and what the claim's record says."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from common.catalog.manifest.change import Accounts, AsOf, Gap, Instance, StreamMark
from common.catalog.manifest.frontier import Frontier
from common.catalog.manifest.state import ManifestState
from common.catalog.partition_key import PartitionKey
from common.values.errors import Forked
from common.values.ids import Epoch, ManifestNumber, Offset, SequencerId
from ingester.following.recovery import Start, claim_change, start
from tests.unit.test_producers import table
from writebuffer.contract import Offsets, Stretch
from writebuffer.errors import OffsetTrimmed, RecordsLost
from writebuffer.same_stream import FoundStream

EMPTY = ManifestState(SequencerId(3))
KNOWN = replace(
    EMPTY,
    number=ManifestNumber(7),
    epoch=Epoch(2),
    as_of=AsOf(
        replay_offset=Offset(100),
        log_time_ns=5,
        stream=StreamMark("one", Offset(99), 1234),
        producers=table([(b"a" * 16, 1)]),
        accounts=Accounts(stored=9),
    ),
)


def stream(
    first: int,
    next_offset: int,
    identity: str = "one",
    checksum: int | None = 1234,
    lost: Sequence[tuple[int, int]] = (),
) -> FoundStream:
    stretches = [Stretch(Offset(begin), Offset(end)) for begin, end in lost]
    return FoundStream(identity, Offsets(Offset(first), Offset(next_offset)), checksum, stretches)


def gap(first: int, next_offset: int) -> Gap:
    return Gap(Offset(first), Offset(next_offset))


@pytest.mark.parametrize("first", [0, 42])
def test_without_a_manifest_it_starts_at_the_first_offset_there_is(first: int) -> None:
    """What was trimmed before was never this store's."""
    assert start(EMPTY, stream(first, 50, checksum=None), accept_loss=False) == Start(Offset(first))


@pytest.mark.parametrize(
    "found",
    [
        stream(0, 200),
        stream(100, 200, checksum=None),
        stream(0, 100),
        stream(100, 100, checksum=None),
    ],
    ids=["in the middle", "trimmed up to it", "at the end", "trimmed whole"],
)
def test_it_starts_at_the_replay_offset(found: FoundStream) -> None:
    """Where it is still readable, the remembered record included or trimmed."""
    assert start(KNOWN, found, accept_loss=False) == Start(Offset(100))


def test_a_stream_that_ends_below_rows_that_are_stored_ahead_is_another() -> None:
    """New records would get offsets of which rows count as durable already; above them nothing is wrong."""
    ahead = replace(KNOWN, frontiers=KNOWN.frontiers.set(PartitionKey("n", "t", 0), Frontier([(Offset(120), 7)])))
    with pytest.raises(Forked, match="its next offset is 120, the stream was followed up to 121"):
        start(ahead, stream(0, 120), accept_loss=True)
    assert start(ahead, stream(0, 121), accept_loss=False) == Start(Offset(100))


def test_records_trimmed_before_they_were_persisted_stop_it() -> None:
    """The message names what is gone, where the buffer begins and the option to go on."""
    with pytest.raises(OffsetTrimmed) as raised:
        start(KNOWN, stream(130, 200, checksum=None), accept_loss=False)
    assert str(raised.value) == raised.value.message
    for part in ("sequencer 3", "offset 100", "130", "30 offsets", "--accept-loss"):
        assert part in str(raised.value)


def test_a_loss_that_was_accepted_is_on_record() -> None:
    """It goes on from the first offset there is, with the gap in the manifest."""
    found = stream(130, 200, checksum=None)
    begin = start(KNOWN, found, accept_loss=True)
    assert begin == Start(Offset(130), (Gap(Offset(100), Offset(130)),))
    change = claim_change(KNOWN, begin, found, Instance("me"))
    assert (change.as_of.replay_offset, change.gaps) == (130, (Gap(Offset(100), Offset(130)),))
    assert change.as_of.stream == StreamMark("one")
    assert change.as_of.rows_taken is None, "the rows of the gap are not known"


@pytest.mark.parametrize(
    ("first", "lost", "begins", "gaps"),
    [
        (90, [(100, 103)], 100, [gap(100, 103)]),
        (90, [(98, 103), (110, 112)], 100, [gap(100, 103), gap(110, 112)]),
        (105, [(110, 112)], 105, [gap(100, 105), gap(110, 112)]),
        (90, [(91, 100)], 100, []),
    ],
    ids=["at the replay offset", "around it, and above", "and trimmed", "below it"],
)
def test_what_a_salvage_gave_up_is_accepted_like_what_was_trimmed(
    first: int, lost: Sequence[tuple[int, int]], begins: int, gaps: Sequence[Gap]
) -> None:
    """Each stretch that was not persisted is a gap, and recorded once: the next start needs no flag."""
    found = stream(first, 200, checksum=None, lost=lost)
    if gaps:
        with pytest.raises((RecordsLost, OffsetTrimmed), match="--accept-loss") as raised:
            start(KNOWN, found, accept_loss=False)
        if lost[-1][1] > 103:
            assert f"offsets {lost[-1][0]} to {lost[-1][1] - 1}" in str(raised.value)
    begin = start(KNOWN, found, accept_loss=True)
    assert begin == Start(Offset(begins), tuple(gaps))
    change = claim_change(KNOWN, begin, found, Instance("me"))
    assert (change.as_of.rows_taken is None) == bool(gaps)
    claimed = KNOWN.after(change, Epoch(3))
    assert start(claimed, found, accept_loss=False) == Start(Offset(begins))


@pytest.mark.parametrize(
    ("found", "difference"),
    [
        (stream(0, 200, identity="two"), "its identity is two, the stream followed was one"),
        (stream(0, 99), "next offset is 99, the stream was followed up to 100"),
        (stream(0, 200, checksum=1235), "the record at 99 is another one"),
    ],
    ids=["identity", "shorter", "another record"],
)
@pytest.mark.parametrize("accept_loss", [False, True])
def test_another_stream_stops_it(found: FoundStream, difference: str, accept_loss: bool) -> None:
    """Recreated, rolled back or rewritten: no option makes that this store's stream."""
    with pytest.raises(Forked, match=difference):
        start(KNOWN, found, accept_loss)


def test_a_record_that_could_not_be_compared_is_no_fork() -> None:
    """The remembered record may be trimmed, or there may be none yet."""
    fresh = replace(KNOWN, as_of=replace(KNOWN.as_of, stream=StreamMark("one")))
    assert start(fresh, stream(0, 200, checksum=None), accept_loss=False) == Start(Offset(100))


def test_a_claim_goes_on_from_what_the_manifest_says() -> None:
    """Everything but the holder stays as it is."""
    found = stream(0, 200)
    change = claim_change(KNOWN, start(KNOWN, found, accept_loss=False), found, Instance("me", "h:1", "h:2"))
    after = KNOWN.after(change, Epoch(3))
    assert change.claim == Instance("me", "h:1", "h:2")
    assert replace(after, number=KNOWN.number, epoch=KNOWN.epoch, instance=KNOWN.instance) == KNOWN


def test_the_first_claim_names_the_stream() -> None:
    """From the first record on a store knows the one stream it is filled from."""
    found = stream(42, 50, identity="new", checksum=None)
    change = claim_change(EMPTY, start(EMPTY, found, accept_loss=False), found, Instance("me"))
    assert (change.as_of.replay_offset, change.as_of.stream, change.gaps) == (42, StreamMark("new"), ())

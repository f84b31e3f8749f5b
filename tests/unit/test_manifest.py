"""The manifest: records add up to the state, any number can be loaded, and nothing doubtful is believed."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from common import manifest_record
from common.errors import DataCorrupt, Fenced, Unavailable
from common.ids import NO_MANIFEST, Epoch, ManifestNumber, Offset, SequencerId
from common.objectstore import PutIfAbsent, run
from common.schema import ColumnType, TableId
from ingester.frontier import TIME_END, Frontier
from ingester.partition_key import PartitionKey
from ingester.persist import manifest
from ingester.persist.manifest_state import Accounts, Change, Gap, Instance, ManifestState, StoredFile, StreamMark
from ingester.producers import Producers
from tests.support.dict_store import DictStore
from tests.unit.test_producers import table

SEQUENCER = SequencerId(3)
EMPTY = ManifestState(SEQUENCER)
ME = Instance("me", "127.0.0.1:8103", "127.0.0.1:8203")


def a_change(replay_offset: int = 0, **given_values: object) -> Change:
    return replace(
        Change(Offset(replay_offset), 0, StreamMark("s"), Producers(), Accounts()),
        **given_values,  # type: ignore[arg-type]
    )


def a_file(number: int, day: int = 0) -> StoredFile:
    return StoredFile(
        path=f"data/metrics/cpu/{number}.parquet",
        partition=PartitionKey("metrics", "cpu", day),
        rows=number,
        size_bytes=1000 + number,
        time_ns_min=-(2**63),
        time_ns_max=2**63 - 1,
        first_offset=Offset(0),
        last_offset=Offset(number),
        checksum=2**64 - 1 - number,
        sort_key=("host", "a,b"),
    )


def claimed(store: DictStore, nonce: str = "c") -> ManifestState:
    state = run(manifest.load(SEQUENCER), store)
    return run(manifest.claim(state, a_change(state.replay_offset, claim=ME, stream=state.stream), nonce), store)


def written(store: DictStore, commits: int, change: Callable[[int], Change] = a_change) -> list[ManifestState]:
    """A claim and so many commits; the state after each number, from 0."""
    states = [EMPTY, claimed(store)]
    for number in range(1, commits + 1):
        states.append(run(manifest.commit(states[-1], change(number), f"n{number}"), store))
    return states


def values(state: ManifestState) -> dict[str, object]:
    """All that a state says, comparable."""
    sizes = (state.number, state.epoch, state.full_state_number, state.full_bytes, state.bytes_since_full)
    return {**state.as_change().to_json(), "sizes": sizes, "sequencer": state.sequencer}


offsets = st.integers(0, 2**62).map(Offset)
names = st.text(max_size=5)
keys = st.builds(PartitionKey, names, names, st.integers(-106752, 106751))
corners = st.lists(st.tuples(st.integers(0, 50), st.sampled_from([-(2**63), 0, TIME_END])), max_size=4)
changes = st.builds(
    Change,
    replay_offset=offsets,
    log_time_ns=st.integers(-(2**63), 2**63 - 1),
    stream=st.builds(StreamMark, names, st.none() | offsets, st.integers(0, 2**64 - 1)),
    producers=st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.integers(0, 9))).map(table),
    accounts=st.builds(Accounts, *[st.integers(0, 2**62)] * 4),
    claim=st.none() | st.builds(Instance, names, names, names),
    files_added=st.lists(st.builds(a_file, st.integers(0, 9), st.integers(-3, 3)), max_size=3).map(tuple),
    files_removed=st.lists(st.builds("data/metrics/cpu/{}.parquet".format, st.integers(0, 9)), max_size=2).map(tuple),
    frontiers=st.dictionaries(keys, corners.map(Frontier), max_size=3),
    sort_keys=st.dictionaries(st.builds(TableId, names, names), st.lists(names).map(tuple), max_size=3),
    columns=st.dictionaries(
        st.builds(TableId, names, names), st.dictionaries(names, st.sampled_from(ColumnType)), max_size=3
    ),
    gaps=st.lists(st.builds(Gap, offsets, offsets), max_size=2).map(tuple),
)


@given(changes)
def test_a_change_survives_its_json(change: Change) -> None:
    """Written and read again it says the same, to the last value."""
    again = Change.from_json(json.loads(json.dumps(change.to_json())))
    assert again.to_json() == change.to_json()
    assert (again.files_added, again.frontiers, again.columns) == (change.files_added, change.frontiers, change.columns)


@given(st.lists(changes, max_size=12), st.integers(0, 13))
def test_any_number_can_be_loaded(drawn: list[Change], number: int) -> None:
    """The state at a number is all changes up to it added up, wherever full states stand."""
    store, states = DictStore(), [EMPTY]
    for n, change in enumerate(drawn):
        states.append(run(manifest.commit(states[-1], change, f"n{n}"), store))
    at = min(number, len(drawn))
    assert values(run(manifest.load_at(SEQUENCER, ManifestNumber(at)), store)) == values(states[at])
    assert values(run(manifest.load(SEQUENCER), store)) == values(states[-1])


@given(st.lists(changes, max_size=8))
def test_a_state_as_one_change_is_the_state(drawn: list[Change]) -> None:
    """What a full record carries restores everything but the number."""
    state = EMPTY
    for change in drawn:
        state = state.after(change, Epoch(1))
    restored = replace(EMPTY, number=state.number).after(state.as_change(), state.epoch)
    assert restored.as_change().to_json() == state.as_change().to_json()
    assert list(restored.files) == list(state.files)


def test_loading_follows_the_live_files_not_the_history() -> None:
    """Full states appear whenever the records since the last one outweigh it: few records are read, also of many."""
    store = DictStore()
    states = written(store, 400, lambda n: a_change(n, files_added=(a_file(n % 10),)))
    store.calls.clear()
    run(manifest.load(SEQUENCER, states[-1].number), store)
    assert len(store.calls) < 30
    store.calls.clear()
    run(manifest.load(SEQUENCER), store)
    assert len(store.calls) < 60
    full = {state.full_state_number for state in states[1:]}
    assert 10 < len(full) < 200
    total = sum(len(data) for data in store.objects.values())
    deltas = [
        len(manifest.encode(states[-1], a_change(n, files_added=(a_file(n % 10),)), Epoch(1), "n")[1]) for n in (1,)
    ]
    assert total < 4 * 401 * deltas[0]


@given(st.integers(0, 70), st.integers(0, 70))
def test_the_head_is_found_from_any_number_below_it(head: int, known: int) -> None:
    """Probing upward, doubling and halving: no listing is trusted."""
    store = DictStore()
    for number in range(1, head + 1):
        store.objects[manifest_record.path(SEQUENCER, ManifestNumber(number))] = b""
    assert run(manifest_record.find_head(SEQUENCER, ManifestNumber(min(known, head))), store) == head


def test_a_corrupt_record_is_never_believed() -> None:
    """Every byte flipped, and every truncation, is DataCorrupt naming the path."""
    data = manifest.encode(EMPTY, a_change(files_added=(a_file(1),), claim=ME), Epoch(1), "n")[1]
    for at in range(len(data)):
        for flip in (0x01, 0x80):
            with pytest.raises(DataCorrupt, match=r"where\.json") as raised:
                manifest.decode(data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :], "where.json")
            assert raised.value.path == "where.json"
        with pytest.raises(DataCorrupt):
            manifest.decode(data[:at], "where.json")


def test_loading_stops_at_a_corrupt_record() -> None:
    """Wherever it stands in what must be read; nothing is skipped."""
    store = DictStore()
    written(store, 2)
    path = manifest_record.path(SEQUENCER, ManifestNumber(3))
    store.objects[path] = store.objects[path][:-2] + b"x}"
    with pytest.raises(DataCorrupt, match=path):
        run(manifest.load(SEQUENCER), store)


def test_a_record_under_another_number_is_corrupt() -> None:
    """A copy in the wrong place is noticed although its checksum is right."""
    store = DictStore()
    written(store, 1)
    paths = [manifest_record.path(SEQUENCER, ManifestNumber(number)) for number in (1, 2, 3)]
    store.objects[paths[2]] = store.objects[paths[1]]
    with pytest.raises(DataCorrupt, match="says it is number 2"):
        run(manifest.load(SEQUENCER), store)


def test_a_record_of_a_newer_format_is_refused() -> None:
    """With the path, not misread."""
    data = manifest_record.sealed({"format": 2})
    with pytest.raises(DataCorrupt, match=r"where: format 2, this build reads 1"):
        manifest.decode(data, "where")


def test_a_lost_answer_is_settled_by_reading() -> None:
    """Put and answer lost: the own nonce is found. Put lost: it is tried again. One record either way."""
    for how in ("after", "before"):
        store = DictStore()
        state = claimed(store)
        store.fail("manifest/", how, times=1)
        after = run(manifest.commit(state, a_change(5), "n"), store)
        assert (after.number, len(store.objects)) == (2, 2)
        assert values(run(manifest.load(SEQUENCER), store)) == values(after)


def test_a_commit_called_again_finds_its_own_record() -> None:
    """After an unknown outcome the caller commits the same again: done, once."""
    store = DictStore()
    state = claimed(store)
    first = run(manifest.commit(state, a_change(5), "n"), store)
    assert values(run(manifest.commit(state, a_change(5), "n"), store)) == values(first)
    assert len(store.objects) == 2


def test_an_outcome_that_stays_unknown_is_reported_as_such() -> None:
    """Bounded tries of the same number; the next one is never tried."""
    store = DictStore()
    state = claimed(store)
    store.fail("manifest/", "before", times=manifest.TRIES_MAX)
    with pytest.raises(Unavailable) as raised:
        run(manifest.commit(state, a_change(5), "n"), store)
    assert raised.value.written == "unknown"
    assert {path for kind, path in store.calls if kind == "put_if_absent"} == {
        manifest_record.path(SEQUENCER, ManifestNumber(1)),
        manifest_record.path(SEQUENCER, ManifestNumber(2)),
    }


def test_a_superseded_holder_is_fenced() -> None:
    """Its next commit finds the number taken by a higher epoch; the message says by whom."""
    store = DictStore()
    old = claimed(store, "one")
    new = claimed(store, "two")
    with pytest.raises(
        Fenced, match=r"sequencer 3: manifest record 2 .* epoch 2 by instance me; .* has epoch 1"
    ) as raised:
        run(manifest.commit(old, a_change(5), "n"), store)
    assert (raised.value.epoch, raised.value.other_epoch) == (1, 2)
    assert run(manifest.commit(new, a_change(5), "m"), store).number == 3


def test_an_idle_holder_notices_by_watching() -> None:
    """Nothing while it is the newest, nor for its own later records; Fenced once another claimed."""
    store = DictStore()
    old = claimed(store, "one")
    run(manifest.watch(old), store)
    run(manifest.commit(old, a_change(1), "n"), store)
    run(manifest.watch(old), store)
    holder = run(manifest.load(SEQUENCER), store)
    claimed(store, "two")
    with pytest.raises(Fenced):
        run(manifest.watch(holder), store)


def test_a_claim_that_lost_the_race_is_fenced_and_may_claim_again() -> None:
    """It decides anew from what was written meanwhile."""
    store = DictStore()
    stale = run(manifest.load(SEQUENCER), store)
    claimed(store, "one")
    with pytest.raises(Fenced):
        run(manifest.claim(stale, a_change(claim=ME), "two"), store)
    assert claimed(store, "three").epoch == 2


def test_records_are_written_by_put_if_absent_alone() -> None:
    """No step ever replaces a record."""
    steps = manifest.commit(EMPTY, a_change(), "n")
    call = next(steps)
    assert isinstance(call, PutIfAbsent)
    assert call.path == "manifest/003/00000000000000000001.json"


def test_nothing_committed_is_number_0() -> None:
    """An empty store loads as the empty state."""
    state = run(manifest.load(SEQUENCER), DictStore())
    assert (state.number, state.epoch, state.replay_offset) == (NO_MANIFEST, 0, 0)


def test_a_record_that_lacks_a_part_is_corrupt() -> None:
    """A right checksum over an incomplete record is still an error with the record's name."""
    _, data = manifest.encode(ManifestState(SEQUENCER), a_change(5, claim=ME), Epoch(1), "n")
    values = json.loads(data)["record"]
    del values["columns"]
    body = json.dumps(values).encode()
    forged = b'{"xxh3":"%016x","record":' % xxhash.xxh3_64_intdigest(body) + body + b"}"
    with pytest.raises(DataCorrupt, match=r"manifest/000/1\.json is not complete: KeyError\('columns'\)"):
        manifest.decode(forged, "manifest/000/1.json")

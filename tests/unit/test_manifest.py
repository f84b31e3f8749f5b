"""The manifest: records add up to the state, any number can be loaded, and nothing doubtful is believed."""

import json
from dataclasses import replace

import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.catalog.manifest import checkpoint, files, head, manifest
from common.catalog.manifest.change import Accounts, AsOf, Change, Gap, Instance, StreamMark
from common.catalog.manifest.envelope import sealed
from common.catalog.manifest.frontier import TIME_END, Frontier
from common.catalog.manifest.state import ManifestState
from common.catalog.partition_key import PartitionKey
from common.catalog.paths import manifest_record
from common.store.objects import PutIfAbsent, run
from common.values.errors import DataCorrupt, Fenced, Unavailable
from common.values.ids import NO_MANIFEST, Epoch, ManifestNumber, Offset
from common.values.schema import ColumnType, TableId
from tests.support.dict_store import DictStore
from tests.support.manifests import EMPTY, ME, SEQUENCER, a_change, a_file, claimed, values, written
from tests.unit.test_producers import table


@pytest.fixture
def small_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint for every three records, of parts of two files."""
    monkeypatch.setattr(checkpoint, "RECORDS_MAX", 3)
    monkeypatch.setattr(head, "WINDOW", 3)
    monkeypatch.setattr(files, "PART_FILES", 2)


offsets = st.integers(0, 2**62).map(Offset)
names = st.text(max_size=5)
keys = st.builds(PartitionKey, names, names, st.integers(-106752, 106751))
corners = st.lists(st.tuples(st.integers(0, 50), st.sampled_from([-(2**63), 0, TIME_END])), max_size=4)
changes = st.builds(
    Change,
    as_of=st.builds(
        AsOf,
        replay_offset=offsets,
        log_time_ns=st.integers(-(2**63), 2**63 - 1),
        stream=st.builds(StreamMark, names, st.none() | offsets, st.integers(0, 2**64 - 1)),
        producers=st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.integers(0, 9))).map(table),
        accounts=st.builds(Accounts, *[st.integers(0, 2**62)] * 4),
    ),
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


def in_order(drawn: list[Change]) -> list[Change]:
    """The same, but the replay offset never goes back."""
    offsets = sorted(change.as_of.replay_offset for change in drawn)
    pairs = zip(drawn, offsets, strict=True)
    return [replace(change, as_of=replace(change.as_of, replay_offset=offset)) for change, offset in pairs]


@given(changes)
def test_a_change_survives_its_json(change: Change) -> None:
    """Written and read again it says the same, to the last value."""
    again = Change.from_json(json.loads(json.dumps(change.to_json())))
    assert again.to_json() == change.to_json()
    assert (again.files_added, again.frontiers, again.columns) == (change.files_added, change.frontiers, change.columns)


@given(st.lists(changes, max_size=12), st.integers(0, 13))
@pytest.mark.usefixtures("small_checkpoints")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_number_can_be_loaded(drawn: list[Change], number: int) -> None:
    """The state at a number is all changes up to it added up, wherever there are checkpoints."""
    store, states = DictStore(), [EMPTY]
    for n, change in enumerate(in_order(drawn)):
        states.append(run(manifest.commit(states[-1], change, f"n{n}"), store))
    at = min(number, len(drawn))
    assert values(run(manifest.load_at(SEQUENCER, ManifestNumber(at)), store)) == values(states[at])
    assert values(run(manifest.load(SEQUENCER), store)) == values(states[-1])


@given(st.lists(changes, max_size=8))
def test_a_state_as_one_change_is_the_state(drawn: list[Change]) -> None:
    """What a full record carries restores everything but the number."""
    state = EMPTY
    for change in in_order(drawn):
        state = state.after(change, Epoch(1))
    restored = replace(EMPTY, number=state.number).after(state.as_change(), state.epoch)
    assert restored.as_change().to_json() == state.as_change().to_json()
    assert list(restored.files) == list(state.files)


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
    """Anywhere in what must be read; nothing is skipped."""
    store = DictStore()
    written(store, 2)
    path = manifest_record(SEQUENCER, ManifestNumber(3))
    store.objects[path] = store.objects[path][:-2] + b"x}"
    with pytest.raises(DataCorrupt, match=path):
        run(manifest.load(SEQUENCER), store)


def test_a_record_under_another_number_is_corrupt() -> None:
    """A copy in the wrong place is noticed although its checksum is right."""
    store = DictStore()
    written(store, 1)
    paths = [manifest_record(SEQUENCER, ManifestNumber(number)) for number in (1, 2, 3)]
    store.objects[paths[2]] = store.objects[paths[1]]
    with pytest.raises(DataCorrupt, match="says it is number 2"):
        run(manifest.load(SEQUENCER), store)


def test_a_record_of_a_newer_format_is_refused() -> None:
    """With the path, not misread."""
    data = sealed({"format": 3})
    with pytest.raises(DataCorrupt, match=r"where: format 3, this build reads 1 and 2"):
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
        manifest_record(SEQUENCER, ManifestNumber(1)),
        manifest_record(SEQUENCER, ManifestNumber(2)),
    }


def test_a_superseded_holder_is_fenced() -> None:
    """Its next commit finds the number used by a higher epoch; the message says by whom."""
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
    """It decides again from what was written meanwhile."""
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

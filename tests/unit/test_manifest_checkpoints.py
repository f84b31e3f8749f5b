"""Checkpoints: few records are read with any history, and a checkpoint adds nothing that the records do not say."""

import pytest

from common.catalog import paths
from common.catalog.manifest import checkpoint, head, manifest
from common.catalog.manifest import files as live_files
from common.catalog.manifest.change import Change
from common.catalog.manifest.checkpoint import RECORDS_MAX
from common.catalog.manifest.hint import encode_hint, read_hint
from common.store.objects import run
from common.values.errors import DataCorrupt, Unavailable
from common.values.ids import NO_MANIFEST, ManifestNumber
from tests.support.dict_store import DictStore
from tests.support.manifests import ME, SEQUENCER, a_change, a_file, claimed, values, written

FOLDER = f"manifest/{SEQUENCER:03}"


def churn(number: int) -> Change:
    """Adds a file, and removes the one of ten records before."""
    removed = (f"data/metrics/cpu/{number - 10}.parquet",) if number > 10 else ()
    return a_change(number, files_added=(a_file(number),), files_removed=removed)


def read_paths(store: DictStore) -> list[str]:
    return [path for kind, path in store.calls if kind == "get" and path in store.objects]


def records_of(paths_read: list[str]) -> set[str]:
    return {path for path in paths_read if path.count("/") == 2 and "hint" not in path}


@pytest.mark.parametrize("commits", [0, 1, 62, 63, 64, 65, 127, 128, 129, 400])
def test_loading_reads_few_records_with_any_history(commits: int) -> None:
    """The checkpoint, its parts, and at most RECORDS_MAX records after it; one more for the proof of the hint."""
    store = DictStore()
    states = written(store, commits, churn)
    store.calls.clear()
    loaded = run(manifest.load(SEQUENCER), store)
    assert values(loaded) == values(states[-1])
    assert len(records_of(read_paths(store))) <= RECORDS_MAX + 1
    assert len(store.calls) <= RECORDS_MAX + 10


def test_a_checkpoint_is_written_for_every_so_many_records_and_costs_what_changed() -> None:
    """Parts that are full are written once; those that a file left, or joined, again."""
    store = DictStore()
    written(store, 3 * live_files.PART_FILES, lambda n: a_change(n, files_added=(a_file(n),)))
    puts = [path for kind, path in store.calls if kind == "put"]
    roots = [path for path in puts if path.startswith(f"{FOLDER}/checkpoints/")]
    assert len(roots) == 3 * live_files.PART_FILES // RECORDS_MAX
    first = [path for path in puts if path.startswith(f"{FOLDER}/parts/00000000-")]
    assert len(first) <= live_files.PART_FILES // RECORDS_MAX + 1
    assert len(puts) == len(set(puts)) + len(roots) - 1  # but for the hint nothing is put twice


def test_the_checkpoint_is_durable_before_the_record_that_names_it() -> None:
    """Parts, then root, then hint, then the record; where the root cannot be put, neither is the record."""
    store = DictStore()
    states = written(store, RECORDS_MAX - 1, churn)
    store.calls.clear()
    store.fail(f"{FOLDER}/checkpoints/")
    with pytest.raises(Unavailable):
        run(manifest.commit(states[-1], churn(RECORDS_MAX), "n"), store)
    assert not [path for kind, path in store.calls if kind == "put_if_absent"]
    store.calls.clear()
    run(manifest.commit(states[-1], churn(RECORDS_MAX), "n"), store)
    order = [path.split("/")[2] for kind, path in store.calls if kind.startswith("put")]
    assert order == ["parts", "checkpoints", "hint.json", f"{RECORDS_MAX + 1:020}.json"]


def test_a_hint_that_cannot_be_put_holds_no_commit_up() -> None:
    """It is advice; the next process finds the newest record a little later."""
    store = DictStore()
    states = written(store, RECORDS_MAX - 1, churn)
    store.fail(f"{FOLDER}/hint")
    run(manifest.commit(states[-1], churn(RECORDS_MAX), "n"), store)
    assert run(read_hint(SEQUENCER), store) == NO_MANIFEST
    assert run(manifest.load(SEQUENCER), store).number == RECORDS_MAX + 1


def test_every_writer_of_a_checkpoint_writes_the_same() -> None:
    """By the records alone: from the first record on, or from another checkpoint, makes no difference."""
    store = DictStore()
    states = written(store, 200, churn)
    before = dict(store.objects)
    for number in (64, 128, 192):
        for known in (states[number], run(manifest.load_at(SEQUENCER, ManifestNumber(number)), store)):
            run(checkpoint.put(known), store)
        store.objects[paths.manifest_hint(SEQUENCER)] = before[paths.manifest_hint(SEQUENCER)]
    assert store.objects == before


@pytest.fixture
def long_history() -> tuple[DictStore, dict[str, object]]:
    store = DictStore()
    states = written(store, 3 * RECORDS_MAX, churn)
    return store, values(states[-1])


@pytest.mark.parametrize("kind", ["checkpoints", "parts"])
@pytest.mark.parametrize("how", ["missing", "damaged", "another's"])
@pytest.mark.parametrize("which", ["newest", "all"])
def test_a_checkpoint_that_cannot_be_read_is_passed_over(
    long_history: tuple[DictStore, dict[str, object]], kind: str, how: str, which: str
) -> None:
    """An earlier one and more records say the same, it is reported, and the next commit heals what is damaged."""
    store, expected = long_history
    objects = sorted(path for path in store.objects if path.startswith(f"{FOLDER}/{kind}/"))
    newest = run(manifest.load(SEQUENCER), store).checkpoint
    if kind == "parts":
        needed = [paths.manifest_part(SEQUENCER, n, part.digest) for n, part in newest.parts.items()]
    else:
        needed = [paths.manifest_checkpoint(SEQUENCER, newest.number)]
    other = store.objects[objects[0]]
    for path in needed if which == "newest" else objects:
        if how == "missing":
            del store.objects[path]
        else:
            data = store.objects[path]
            store.objects[path] = data[:-9] + b"x" + data[-8:] if how == "damaged" or data == other else other
    damaged: list[DataCorrupt] = []
    loaded = run(manifest.load(SEQUENCER, on_damaged=damaged.append), store)
    assert values(loaded) == expected
    assert damaged[0].path in needed
    state = run(manifest.claim(loaded, Change(loaded.as_of, claim=ME), "next"), store)
    for number in range(RECORDS_MAX + 1):
        state = run(manifest.commit(state, Change(state.as_of), f"later-{number}"), store)
    damaged.clear()
    assert values(run(manifest.load(SEQUENCER, on_damaged=damaged.append), store)) == values(state)
    assert damaged == []


def test_a_release_with_other_parts_reads_the_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many files a part holds may change; the files do not, nor their order."""
    store = DictStore()
    states = written(store, 300, lambda n: a_change(n, files_added=(a_file(n),)))
    expected, in_order = values(states[-1]), list(states[-1].files)
    monkeypatch.setattr(live_files, "PART_FILES", 7)
    loaded = run(manifest.load(SEQUENCER), store)
    assert values(loaded) == expected
    assert list(loaded.files) == in_order
    assert max(map(len, loaded.files.parts.values())) == 7


@pytest.mark.parametrize("number", [5, 70, 130])
def test_a_missing_record_says_which_and_what_to_do(number: int) -> None:
    """In the middle of what must be read, at its end, and below the newest: the number, the range, the remedy."""
    store = DictStore()
    written(store, 139)
    for path in [path for path in store.objects if "/checkpoints/" in path]:
        del store.objects[path]
    where = paths.manifest_record(SEQUENCER, ManifestNumber(number))
    del store.objects[where]
    expected = rf"^sequencer 3: manifest record {number} is missing, .*Restore {where} from a copy of the store$"
    with pytest.raises(DataCorrupt, match=expected) as raised:
        run(manifest.load(SEQUENCER), store)
    assert raised.value.number == number


@pytest.mark.parametrize("hint", [b"", b"{}", encode_hint(ManifestNumber(10**15)), encode_hint(ManifestNumber(3))])
@pytest.mark.parametrize("commits", [0, 1, 70, 300])
def test_a_wrong_hint_costs_reads_and_nothing_else(hint: bytes, commits: int) -> None:
    """Damaged, far above or far below the newest record."""
    store = DictStore()
    states = written(store, commits, churn)
    store.objects[paths.manifest_hint(SEQUENCER)] = hint
    store.calls.clear()
    assert values(run(manifest.load(SEQUENCER), store)) == values(states[-1])
    assert len(store.calls) < 5 * RECORDS_MAX


@pytest.mark.parametrize("newest", [0, 1, 2, 63, 64, 65, 66, 127, 128, 200, 1000])
@pytest.mark.parametrize("known", [0, 1, 60, 64, 199])
def test_the_head_is_found_from_any_number_below_it(newest: int, known: int) -> None:
    """With no hint: by windows, doubling and halving; no listing is trusted."""
    store = DictStore()
    for number in range(1, newest + 1):
        store.objects[paths.manifest_record(SEQUENCER, ManifestNumber(number))] = b""
    assert run(head.find_head(SEQUENCER, ManifestNumber(min(known, newest))), store) == newest


def test_a_record_that_comes_while_a_window_is_read_is_no_hole() -> None:
    """Reads of one window are not of one instant: what seemed missing is looked at again."""
    store = DictStore()
    written(store, 5)
    late = store.objects.pop(paths.manifest_record(SEQUENCER, ManifestNumber(4)))
    steps = head.search(SEQUENCER)
    next(steps)  # the hint
    window = steps.send(encode_hint(ManifestNumber(1)))
    asked = steps.send(tuple(store.objects.get(path) for path in window.paths))
    assert asked.path == paths.manifest_record(SEQUENCER, ManifestNumber(4))
    store.objects[asked.path] = late
    window = steps.send(late)
    with pytest.raises(StopIteration) as stop:
        steps.send(tuple(store.objects.get(path) for path in window.paths))
    assert stop.value.value.number == 6


def test_a_process_that_looks_again_reads_what_is_new() -> None:
    """One call where nothing is, and of many records no more than a load reads."""
    store = DictStore()
    states = written(store, 100, churn)
    known = run(manifest.load(SEQUENCER), store)
    assert values(known) == values(states[-1])
    store.calls.clear()
    assert run(manifest.newer(known), store).number == 101
    assert len(store.calls) == 1
    state = claimed(store, "again")
    for more in (1, 200):
        for number in range(more):
            state = run(manifest.commit(state, churn(1000 + number), f"{more}-{number}"), store)
        store.calls.clear()
        known = run(manifest.newer(known), store)
        assert values(known) == values(state)
        assert len(read_paths(store)) < 3 * RECORDS_MAX


def test_a_state_at_a_number_is_reached_from_one_that_is_known() -> None:
    """A query reads the manifest an answer complements: mostly a few records after what it has."""
    store = DictStore()
    states = written(store, 150, churn)
    for known, number in ((140, 151), (151, 151), (140, 100), (10, 150)):
        store.calls.clear()
        found = run(manifest.load_at(SEQUENCER, ManifestNumber(number), states[known]), store)
        assert values(found) == values(states[number])
        assert len(store.calls) == number - known or not 0 <= number - known <= RECORDS_MAX

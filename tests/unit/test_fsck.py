"""The check of a sequencer: each kind of damage is found and named, and what is as it should be is not."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from common.catalog.manifest import manifest
from common.catalog.manifest.change import Change, Gap
from common.catalog.paths import dead_letter, manifest_checkpoint, manifest_record
from common.store.objects import run
from common.store.opening import open_store
from common.values.errors import Unavailable
from common.values.ids import ManifestNumber, Offset, SequencerId
from penstock.fsck.check import Options, check
from penstock.fsck.finding import Level
from penstock.fsck.report import advice_text, finding_text, sequencer_text
from tests.support.dict_store import DictStore
from tests.support.fsck import (
    DAY_SECONDS,
    HOUR_S,
    Watched,
    a_file_of,
    a_persisted_rig,
    checked,
    flipped,
    flipped_in_page,
    kinds,
    put_unnamed,
)
from tests.support.ingester_rig import SECOND_NS, SEQUENCER, IngesterRig, cpu
from tests.support.records import DAY0_NS, row

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def rig() -> IngesterRig:
    return a_persisted_rig()


def commit(rig: IngesterRig, **values: object) -> None:
    """One more record, which changes `values` of the manifest's state."""
    state = run(manifest.load(SEQUENCER), rig.store)
    change = replace(Change(state.as_of), **values)  # type: ignore[arg-type]
    run(manifest.commit(state, change, "by hand"), rig.store)


@pytest.mark.parametrize("deep", [False, True])
def test_a_store_as_it_was_written_is_clean(rig: IngesterRig, deep: bool) -> None:
    """No finding; files, rows and bytes are those of the manifest."""
    report = checked(rig, deep=deep)
    files = rig.core.state.files.values()
    assert report.findings == []
    assert report.level is Level.NOTE
    assert (report.files, report.rows, report.bytes) == (
        len(files),
        sum(file.rows for file in files),
        sum(file.size_bytes for file in files),
    )


@pytest.mark.parametrize("release", sorted(path.name for path in GOLDEN.glob("data_folder_v*")))
def test_a_released_folder_is_clean(release: str) -> None:
    """What earlier releases wrote is checked by the same rules."""
    store = open_store(f"file://{GOLDEN}/{release}/store")
    reports = [check(SequencerId(number), store, Options(True, HOUR_S, 0), Watched()) for number in range(2)]
    assert [report.findings for report in reports] == [[], []]
    assert "not compared with the rows taken, which are not known" in sequencer_text(reports[0])
    assert sum(report.dead_letters for report in reports) == 1


@pytest.mark.parametrize(
    ("damage", "kind", "what"),
    [
        (lambda data: None, "missing", "it is missing"),
        (lambda data: data[:-1], "shortened", r"it has \d+ bytes, and \d+ were written"),
        (lambda data: b"", "shortened", r"it has 0 bytes, and \d+ were written"),
        (lambda data: data + b"\0", "lengthened", r"it has \d+ bytes, and \d+ were written"),
        (flipped_in_page, "changed", r"the checksum of its bytes is \w{16}, and \w{16} was written"),
    ],
    ids=["missing", "shortened", "empty", "lengthened", "flipped"],
)
def test_a_damaged_file_is_named(
    rig: IngesterRig, damage: Callable[[bytes], bytes | None], kind: str, what: str
) -> None:
    """By its path, what is wrong, its rows and offsets, with advice; the other files are clean."""
    file = a_file_of(rig)
    data = damage(rig.store.objects[file.path])
    if data is None:
        rig.store.delete(file.path)
    else:
        rig.store.put(file.path, data)
    report = checked(rig)
    (found,) = report.findings
    assert (found.kind.value, found.path, found.level) == (kind, file.path, Level.DAMAGE)
    assert re.match(what, found.what)
    text = finding_text(found)
    assert file.path in text
    assert f"({file.rows} rows, offsets {file.first_offset} to {file.last_offset} of sequencer 3)" in text
    assert "copy of the store" in found.kind.advice
    assert found.to_json()["rows"] == file.rows


def test_a_flipped_bit_is_located(rig: IngesterRig) -> None:
    """Row group and column of the page that it is in."""
    file = a_file_of(rig)
    rig.store.put(file.path, flipped_in_page(rig.store.objects[file.path]))
    (found,) = checked(rig).findings
    assert [(place.row_group, place.column) for place in found.places] == [(0, "time")]
    assert "row group 0, column 'time'" in str(found)


class Failing(DictStore):
    """Does not return the object at `broken`, or none at all."""

    broken = ""

    def get(self, path: str) -> bytes:
        if path == self.broken or self.broken == "all":
            raise Unavailable(f"object store: {path}: input/output error")
        return super().get(path)


def test_an_old_record_that_the_store_does_not_return_is_one_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of `deep`, which alone reads it."""
    monkeypatch.setattr("common.catalog.manifest.checkpoint.RECORDS_MAX", 2)
    rig = a_persisted_rig()
    store = Failing()
    store.objects = rig.store.objects
    rig.append(cpu(10))
    rig.poll()
    rig.go_cold()
    rig.store = store
    store.broken = manifest_record(SEQUENCER, ManifestNumber(1))
    assert kinds(checked(rig, deep=True)) == ["unread"]
    assert kinds(checked(rig, deep=False)) == []


def test_a_file_that_the_store_does_not_return_is_one_finding() -> None:
    """The check goes on with the others; where the store itself is away, it ends."""
    rig = a_persisted_rig()
    store = Failing()
    store.objects = rig.store.objects
    rig.store = store
    store.broken = a_file_of(rig).path
    report = checked(rig)
    assert kinds(report) == ["unread"]
    assert "input/output error" in str(report.findings[0])
    store.broken = "all"
    with pytest.raises(Unavailable):
        checked(rig)


def test_an_orphan_is_named_with_its_age(rig: IngesterRig) -> None:
    """A file of an epoch below the manifest's, older than the grace time, is left over; it is nobody's damage."""
    rig.store.now_ns = DAY_SECONDS * SECOND_NS
    path = put_unnamed(rig, epoch=1)
    rig.restart(removes_unnamed=False)
    report = checked(rig, age_s=2 * HOUR_S)
    (found,) = report.findings
    assert (found.kind.value, found.path, found.level) == ("orphan", path, Level.LEFT)
    assert "(4 bytes, 2 hours old); none ever will: it is of epoch 1, and the manifest of epoch 2" in str(found)


@pytest.mark.parametrize(("age_s", "kind"), [(0.0, "waiting"), (HOUR_S - 1, "waiting"), (HOUR_S, "orphan")])
def test_a_young_file_may_be_a_persist_under_way(rig: IngesterRig, age_s: float, kind: str) -> None:
    """Of the newest epoch: a note until the grace time is over."""
    put_unnamed(rig, epoch=rig.core.state.epoch)
    assert kinds(checked(rig, age_s=age_s)) == [kind]


def test_what_is_committed_during_the_check_is_no_orphan(rig: IngesterRig) -> None:
    """The manifest is read again after the files were listed."""
    rig.append(cpu(9, "z"))
    rig.poll()
    rig.tick(301)
    rig.persist()

    class Committing(DictStore):
        def list(self, prefix: str) -> object:  # type: ignore[override]
            found = [*super().list(prefix)]
            if rig.commits and prefix == "data":
                rig.commit()
            return iter(found)

    store = Committing()
    store.objects = rig.store.objects
    rig.store = store
    assert kinds(checked(rig, age_s=2 * HOUR_S)) == []


def test_a_file_that_is_replaced_during_the_check_is_not_missing(rig: IngesterRig) -> None:
    """Its record may be newer than the manifest that the check began with."""
    file = a_file_of(rig)

    class Replacing(DictStore):
        def get(self, path: str) -> bytes:
            if path == file.path and path in self.objects:
                accounts = replace(rig.core.state.accounts, stored=rig.core.state.accounts.stored - file.rows)
                self.delete(path)
                as_of = replace(rig.core.state.as_of, accounts=accounts)
                commit(rig, as_of=as_of, files_removed=(path,))
            return super().get(path)

    store = Replacing()
    store.objects = rig.store.objects
    rig.store = store
    assert kinds(checked(rig)) == []


def test_a_file_above_the_manifest_s_epoch_says_that_the_manifest_is_old(rig: IngesterRig) -> None:
    """The manifest was lost, or restored from an older copy: that is damage, and nothing is to be removed."""
    put_unnamed(rig, epoch=7)
    report = checked(rig, age_s=2 * HOUR_S)
    assert kinds(report) == ["later epoch"]
    assert report.level is Level.DAMAGE


def test_without_a_manifest_its_files_say_so(rig: IngesterRig) -> None:
    """All records are gone: the files are of a later epoch than none."""
    for path in [path for path in rig.store.objects if path.startswith("manifest/")]:
        rig.store.delete(path)
    assert set(kinds(checked(rig))) == {"later epoch"}


def test_a_moved_file_is_missing_here_and_displaced_there(rig: IngesterRig) -> None:
    """Both places are named."""
    file = a_file_of(rig)
    there = f"data/metrics/elsewhere/{file.path.rpartition('/')[2]}"
    rig.store.put(there, rig.store.objects[file.path])
    rig.store.delete(file.path)
    report = checked(rig)
    assert kinds(report) == ["missing", "displaced"]
    assert f"{there}: no manifest record names it" in str(report.findings[1])
    assert f"it has the name of {file.path}" in str(report.findings[1])


def test_rows_of_a_gap_are_pointed_out(rig: IngesterRig) -> None:
    """An unnamed file whose offsets were accepted as lost may be their only copy."""
    commit(rig, gaps=(Gap(Offset(5), Offset(8)),))
    put_unnamed(rig, epoch=0, first=7, last=9)
    report = checked(rig, age_s=2 * HOUR_S)
    assert kinds(report) == ["rows of a gap"]
    assert "the gap, offsets 5 to 7" in str(report.findings[0])
    assert "gap: offsets 5 to 7 were accepted as lost" in sequencer_text(report)


def test_a_damaged_record_ends_the_check_of_its_sequencer(rig: IngesterRig) -> None:
    """It is named; what the manifest would say is not guessed."""
    path = manifest_record(SEQUENCER, rig.core.state.number)
    rig.store.put(path, rig.store.objects[path][:-2])
    report = checked(rig)
    assert kinds(report) == ["manifest"]
    assert path in str(report.findings[0])
    assert report.state is None
    assert report.to_json()["files"] == 0


def test_a_damaged_checkpoint_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier one and more records say the same; it is left over."""
    monkeypatch.setattr("common.catalog.manifest.checkpoint.RECORDS_MAX", 2)
    rig = a_persisted_rig()
    for second in range(10, 13):
        rig.append(cpu(second))
        rig.poll()
        rig.go_cold()
    state = run(manifest.load(SEQUENCER), rig.store)
    path = manifest_checkpoint(SEQUENCER, ManifestNumber(state.checkpoint.number))
    rig.store.put(path, b"{}")
    report = checked(rig)
    assert kinds(report) == ["checkpoint"]
    assert report.level is Level.LEFT


def test_a_damaged_record_of_the_past_is_found_by_deep_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading does not read it: the newest checkpoint holds what it said. So it is with one that is missing."""
    monkeypatch.setattr("common.catalog.manifest.checkpoint.RECORDS_MAX", 2)
    rig = a_persisted_rig()
    for second in range(10, 15):
        rig.append(cpu(second))
        rig.poll()
        rig.go_cold()
    assert checked(rig, deep=True).findings == []
    changed, replaced, gone, other = (manifest_record(SEQUENCER, ManifestNumber(number)) for number in (2, 3, 4, 5))
    rig.store.put(changed, flipped(rig.store.objects[changed], 99))
    rig.store.put(replaced, rig.store.objects[other])
    rig.store.delete(gone)
    rig.store.delete(other)
    assert checked(rig, deep=False).findings == []
    report = checked(rig, deep=True)
    assert kinds(report) == ["record"] * 4
    assert f"{changed} does not match its checksum" in str(report.findings[0])
    assert f"{replaced}: its content belongs to {other}" in str(report.findings[1])
    lost = [f"{path}: it is missing, and later records are there" for path in (gone, other)]
    assert [str(found) for found in report.findings[2:]] == lost


@pytest.mark.parametrize("deep", [False, True])
def test_whatever_byte_of_the_manifest_is_flipped_it_is_found(monkeypatch: pytest.MonkeyPatch, deep: bool) -> None:
    """In records, checkpoints, parts and the hint; without `deep` in those that are read."""
    monkeypatch.setattr("common.catalog.manifest.checkpoint.RECORDS_MAX", 2)
    rig = a_persisted_rig()
    for second in range(10, 13):
        rig.append(cpu(second))
        rig.poll()
        rig.go_cold()
    state = run(manifest.load(SEQUENCER), rig.store)
    found = 0
    for path in [path for path in rig.store.objects if path.startswith("manifest/")]:
        good = rig.store.objects[path]
        for position in (0, 20, len(good) // 2, len(good) - 1):
            rig.store.put(path, flipped(good, position))
            report = checked(rig, deep=deep)
            assert all(path in str(each) for each in report.findings)
            found += bool(report.findings)
            assert report.findings or not deep
            assert report.state is None or report.state.files == state.files
        rig.store.put(path, good)
    assert found >= 4


def test_accounts_that_do_not_fit_the_files_are_found(rig: IngesterRig) -> None:
    """Rows stored are the rows of all files."""
    accounts = replace(rig.core.state.accounts, stored=99)
    commit(rig, as_of=replace(rig.core.state.as_of, accounts=accounts, rows_taken=None))
    report = checked(rig)
    assert kinds(report) == ["accounts"]
    assert "its files have 11 rows, and 99 were stored" in str(report.findings[0])


@pytest.mark.parametrize(
    ("difference", "what"),
    [
        (1, "23 rows were taken below offset 3, and only 22 are stored, overwritten, duplicate or dead: 1 row lost"),
        (-1, "21 rows were taken below offset 3, and 22 are .*: 1 row counted twice"),
    ],
)
def test_accounts_that_do_not_fit_the_rows_taken_are_found(rig: IngesterRig, difference: int, what: str) -> None:
    """Each row of the log below the replay offset is settled once."""
    as_of = rig.core.state.as_of
    assert as_of.rows_taken is not None
    commit(rig, as_of=replace(as_of, rows_taken=as_of.rows_taken + difference))
    report = checked(rig)
    assert kinds(report) == ["accounts"]
    assert re.search(what, str(report.findings[0]))


def test_rows_that_are_stored_ahead_are_in_the_accounts(rig: IngesterRig) -> None:
    """Of two partitions the later is persisted first: the rows are above the replay offset, and no difference."""
    assert "  rows taken 22 below offset 3 + stored ahead 0 = stored 11 + " in sequencer_text(checked(rig))
    rig.append({"cpu": [row(DAY0_NS, "z", v=1.0)]})
    rig.append({"mem": [row(DAY0_NS, "z", v=1.0)]})
    rig.poll()
    rig.tick(301)
    rig.persist([job.key.table for job in rig.persists].index("mem"))
    rig.commit()
    report = checked(rig)
    assert report.findings == []
    assert "  rows taken 22 below offset 3 + stored ahead 1 = stored 12 + " in sequencer_text(report)


def test_dead_letters_are_counted_and_their_halves_missed(rig: IngesterRig) -> None:
    """Below the replay offset each has its bytes and its note."""
    offset = rig.append(cpu(8), bad=True)
    rig.poll()
    rig.dead_letter()
    rig.append(cpu(9))
    rig.poll()
    rig.go_cold()
    report = checked(rig)
    assert (report.findings, report.dead_letters) == ([], 1)
    assert "dead letters: 1 record" in sequencer_text(report)
    note = dead_letter(SEQUENCER, offset, "json")
    rig.store.delete(note)
    (found,) = checked(rig).findings
    assert (found.kind.value, found.path) == ("dead letter", note)


def test_the_same_advice_is_given_once(rig: IngesterRig) -> None:
    """With all kinds that it is for, the gravest first."""
    first, second = rig.core.state.files.values()
    rig.store.delete(first.path)
    rig.store.put(second.path, b"")
    put_unnamed(rig, epoch=0)
    lines = advice_text(checked(rig, age_s=2 * HOUR_S).findings).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["missing, shortened", "orphan"]


def test_the_check_changes_nothing(rig: IngesterRig) -> None:
    """Whatever it finds, no object is written, removed or made durable."""
    put_unnamed(rig, epoch=0)
    rig.store.delete(a_file_of(rig).path)
    rig.store.calls.clear()
    before = dict(rig.store.objects)
    checked(rig, deep=True, age_s=2 * HOUR_S)
    assert {kind for kind, _ in rig.store.calls} <= {"get", "list"}
    assert rig.store.objects == before

"""Records over which processes die: which are remembered, which are tried, and what a trial finds."""

import json
import sys
from pathlib import Path

import pytest

from common.values.errors import Unavailable
from common.values.ids import Offset
from ingester.following import trial
from ingester.following.suspects import DEATHS_MAX, Suspect, Suspects
from ingester.following.trial import try_records
from tests.support.records import DAY0_NS, record, row
from writebuffer.contract import SequencedRecord

KILLABLE = [sys.executable, "-m", "tests.support.killable_trial"]


def dies(path: Path, *begun: tuple[int, int], applied: int = 0) -> Suspects:
    """A process that began these ranges, applied up to there, and died; returns what the next one finds."""
    suspects = Suspects(path)
    for first, end in begun:
        suspects.begin(Offset(first), Offset(end))
    if applied:
        suspects.applied(Offset(applied))
    return Suspects(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ingester-0.suspects.json"


def test_three_deaths_over_the_same_offsets_make_them_due(path: Path) -> None:
    for _ in range(DEATHS_MAX):
        assert Suspects(path).due is None
        found = dies(path, (100, 200))
    assert found.due == Suspect(Offset(100), Offset(200), DEATHS_MAX)


def test_polls_that_fall_otherwise_narrow_it_down(path: Path) -> None:
    """Each process reads from another offset on: what is suspect is what all of them had begun and not applied."""
    dies(path, (0, 1000), (1000, 2000), applied=1000)
    dies(path, (500, 1500))
    assert dies(path, (0, 700), (700, 1400), applied=1200).due == Suspect(Offset(1200), Offset(1400), 3)


def test_a_death_elsewhere_begins_the_count_again(path: Path) -> None:
    dies(path, (0, 10))
    dies(path, (0, 10))
    dies(path, (20, 30))
    assert dies(path, (20, 30)).due is None


def test_offsets_that_were_passed_are_suspect_no_more(path: Path) -> None:
    for _ in range(2):
        dies(path, (0, 10))
    survivor = Suspects(path)
    survivor.begin(Offset(0), Offset(10))
    survivor.applied(Offset(10))
    survivor.begin(Offset(10), Offset(20))
    survivor.applied(Offset(20))
    assert dies(path, (0, 10)).due is None


@pytest.mark.parametrize("idle", [True, False])
def test_a_process_that_ends_in_order_or_with_nothing_under_way_counts_for_nothing(path: Path, idle: bool) -> None:
    for _ in range(5):
        suspects = Suspects(path)
        suspects.begin(Offset(0), Offset(10))
        if idle:
            suspects.applied(Offset(10))
        else:
            suspects.end()
    assert Suspects(path).due is None


def test_what_is_condemned_stays_so(path: Path) -> None:
    found = dies(path, (0, 10))
    found.tried({Offset(7): "why"})
    again = dies(path, (10, 20))
    assert again.condemned == {7: "why"}
    assert again.due is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", json.dumps({"condemned": 3}).encode()])
def test_a_file_that_cannot_be_read_counts_as_none(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert dies(path, (0, 10)).due is None


def test_a_folder_that_is_gone_keeps_nothing_from_going_on(tmp_path: Path) -> None:
    suspects = Suspects(tmp_path / "gone" / "file")
    suspects.begin(Offset(0), Offset(1))
    suspects.applied(Offset(1))


def records(*tables: str) -> list[SequencedRecord]:
    return [
        SequencedRecord(Offset(10 + number), record({table: [row(DAY0_NS, "a", v=1.0)]}))
        for number, table in enumerate(tables)
    ]


def test_a_trial_finds_the_records_that_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them, and none of the others; what cannot be decoded harms nobody."""
    monkeypatch.setattr(trial, "COMMAND", KILLABLE)
    monkeypatch.setenv("KILL_TABLE", "poison")
    found = try_records(records("cpu", "poison", "cpu", "poison", "mem"))
    assert found == dict.fromkeys([11, 13], "a process that applied it alone was ended by signal 9")


def test_a_trial_of_good_records_finds_none() -> None:
    assert try_records(records("cpu", "mem")) == {}


def test_a_record_that_takes_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = "import sys, time; sys.stdout.buffer.write(b'\\n'); sys.stdout.flush(); time.sleep(60)"
    monkeypatch.setattr(trial, "COMMAND", [sys.executable, "-c", silent])
    monkeypatch.setattr(trial, "TIMEOUT_S", 1.0)
    assert try_records(records("cpu")) == {10: "a process that applied it alone did not end in 1 s"}


def test_where_no_process_can_be_started_nothing_is_condemned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "COMMAND", [sys.executable, "-c", "raise SystemExit(7)"])
    with pytest.raises(Unavailable, match=r"no process could be started to try records in: .* exit code 7"):
        try_records(records("cpu"))

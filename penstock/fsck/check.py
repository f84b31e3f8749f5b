"""The check of one sequencer: read-only, beside a live cluster or without one.

Files are those of the newest manifest when the check begins, and are read one after another: memory holds the manifest,
one file, and the columns of one of its row groups. Objects that no manifest names are looked for afterwards; so what a
running ingester does meanwhile is no finding.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from common.catalog import paths
from common.catalog.manifest import manifest
from common.catalog.manifest.change import StoredFile
from common.catalog.manifest.state import ManifestState
from common.catalog.written import Damaged, read_written
from common.store.objects import ObjectStore, run
from common.values.errors import DataCorrupt, Unavailable
from common.values.ids import SequencerId
from penstock.fsck.books import dead_letters_of, wrong_accounts
from penstock.fsck.content import damaged_places, wrong_content
from penstock.fsck.finding import Finding, Kind, Level
from penstock.fsck.history import wrong_history
from penstock.fsck.left_over import finding, left_over

OnFinding = Callable[[Finding], None]


class Watcher(Protocol):
    """What is told of a check while it runs."""

    def expect(self, size_bytes: int) -> None:
        """So many bytes of files are to be read."""
        ...

    def read(self, size_bytes: int) -> None:
        """A file of so many bytes was looked at."""
        ...

    def found(self, finding: Finding) -> None: ...


@dataclass(frozen=True, slots=True)
class Options:
    """deep: read all pages. grace_s: an unnamed file younger than this is a persist under way. now_ns: by the clock."""

    deep: bool
    grace_s: float
    now_ns: int


@dataclass(slots=True)
class SequencerReport:
    """One sequencer. state: of the manifest as it was checked; None where it cannot be read.

    files, rows, bytes: that were checked. dead_letters, dead_letter_bytes: records put aside. findings: in the order
    they were found.
    """

    sequencer: SequencerId
    state: ManifestState | None = None
    files: int = 0
    rows: int = 0
    bytes: int = 0
    dead_letters: int = 0
    dead_letter_bytes: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def level(self) -> Level:
        return max((found.level for found in self.findings), default=Level.NOTE)

    def to_json(self) -> dict[str, Any]:
        state = self.state
        return {
            "sequencer": self.sequencer,
            "manifest_number": state.number if state else None,
            "epoch": state.epoch if state else None,
            "persisted_offset": state.replay_offset if state else None,
            "files": self.files,
            "rows": self.rows,
            "bytes": self.bytes,
            "accounts": state.accounts.to_json() if state else None,
            "rows_taken": state.as_of.rows_taken if state else None,
            "rows_ahead": state.rows_ahead if state else None,
            "gaps": [gap.to_json() for gap in state.gaps] if state else None,
            "dead_letters": self.dead_letters,
            "dead_letter_bytes": self.dead_letter_bytes,
            "findings": [found.to_json() for found in self.findings],
        }


def load(sequencer: SequencerId, store: ObjectStore, on_finding: OnFinding) -> ManifestState | None:
    """The newest manifest; None, after a finding, where it cannot be read. Raises Unavailable."""

    def on_damaged(error: DataCorrupt) -> None:
        on_finding(Finding(Kind.CHECKPOINT, error.message, sequencer=sequencer))

    try:
        return run(manifest.load(sequencer, on_damaged=on_damaged), store)
    except DataCorrupt as error:
        on_finding(Finding(Kind.MANIFEST, error.message, sequencer=sequencer))
        return None


def check(sequencer: SequencerId, store: ObjectStore, options: Options, watcher: Watcher) -> SequencerReport:
    """Check everything of one sequencer.

    Raises Unavailable where the store is away; one object that it does not return is a finding.
    """
    report = SequencerReport(sequencer)

    def note(found: Finding) -> None:
        report.findings.append(found)
        watcher.found(found)

    state = report.state = load(sequencer, store, note)
    if state is None:
        return report
    passed_over = tuple(report.findings)
    for found in _findings(state, store, options, report, watcher):
        if found not in passed_over:
            note(found)
    return report


def _findings(
    state: ManifestState, store: ObjectStore, options: Options, report: SequencerReport, watcher: Watcher
) -> Iterator[Finding]:
    """In the order of the report. Counts in `report` what was looked at."""
    yield from wrong_accounts(state)
    watcher.expect(sum(file.size_bytes for file in state.files.values()))
    for file in state.files.values():
        yield from (found for found in wrong_file(file, state, store, options.deep) if _still_named(file, state, store))
        report.files += 1
        report.rows += file.rows
        report.bytes += file.size_bytes
        watcher.read(file.size_bytes)
    if options.deep:
        yield from wrong_history(state, store)
    letters = dead_letters_of(state, store)
    report.dead_letters, report.dead_letter_bytes = letters.records, letters.bytes
    yield from letters.incomplete
    yield from _left_over(state, store, options)


def _left_over(state: ManifestState, store: ObjectStore, options: Options) -> Iterator[Finding]:
    try:
        left = left_over(state, store)
    except DataCorrupt as error:  # of a record written since
        yield Finding(Kind.MANIFEST, error.message, sequencer=state.sequencer)
        return
    yield from (finding(unnamed, left.state, options.now_ns, options.grace_s) for unnamed in left.files)


def wrong_file(file: StoredFile, state: ManifestState, store: ObjectStore, deep: bool) -> Iterator[Finding]:
    """All that is wrong with one file that `state` names. Raises Unavailable."""
    about = Finding(Kind.CONTENT, "", file.path, state.sequencer, file)
    try:
        found = read_written(file, store)
    except Unavailable as error:
        store.get(paths.CLUSTER)  # raises where it is not this file alone
        yield replace(about, kind=Kind.UNREAD, what=error.message)
        return
    if isinstance(found, Damaged):
        yield _damaged(about, found)
        return
    known = state.columns.get(file.partition.table_id, {})
    for wrong in wrong_content(file, state.sequencer, found, known, deep):
        yield replace(about, what=wrong.what, places=wrong.places)


def _damaged(about: Finding, found: Damaged) -> Finding:
    kind = Kind(found.damage)
    if kind is not Kind.CHANGED:
        return replace(about, kind=kind, what=found.why)
    where = damaged_places(found.data)
    what = f"{found.why}; {where.what}" if where.what else found.why
    return replace(about, kind=kind, what=what, places=where.places)


def _still_named(file: StoredFile, state: ManifestState, store: ObjectStore) -> bool:
    """Whether the newest manifest names the file, too: a record written meanwhile may have replaced it."""
    try:
        return file.path in run(manifest.newer(state), store).files
    except DataCorrupt:
        return True

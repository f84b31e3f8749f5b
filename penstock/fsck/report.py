"""A check's results for people; `SequencerReport.to_json` is for programs."""

from collections.abc import Iterable, Iterator, Sequence

from common.catalog.manifest.state import ManifestState
from common.values.shown import counted
from penstock.fsck.check import SequencerReport
from penstock.fsck.finding import Finding, Kind, Level

_LABELS = {Level.DAMAGE: "DAMAGE", Level.LEFT: "left over", Level.NOTE: "note"}


def finding_text(found: Finding) -> str:
    """One line."""
    return f"{_LABELS[found.level]:<9}  {found.kind.value}: {found}"


def sequencer_text(report: SequencerReport) -> str:
    """What was checked of a sequencer, and what its manifest says."""
    state = report.state
    if state is None:
        return f"sequencer {report.sequencer}: its manifest cannot be read"
    manifest = f"manifest record {state.number} of epoch {state.epoch}, persisted {state.replay_offset}"
    sizes = (counted(report.files, "file"), counted(report.rows, "row"), counted(report.bytes, "byte"))
    lines = [f"sequencer {report.sequencer}: {manifest}: {', '.join(sizes)}: {verdict(report.findings)}"]
    lines += _accounts(state)
    for gap in state.gaps:
        offsets = f"offsets {gap.first_offset} to {gap.next_offset - 1}"
        lines.append(f"  gap: {offsets} were accepted as lost; how many rows they held is not known")
    if report.dead_letters:
        records = counted(report.dead_letters, "record")
        lines.append(
            f"  dead letters: {records}, {counted(report.dead_letter_bytes, 'byte')} (docs/formats/dead-letter.md)"
        )
    return "\n".join(lines)


def _accounts(state: ManifestState) -> Iterator[str]:
    """Both sides of the equation; rows in the ingester's memory are those of records above, which are not counted."""
    settled = " + ".join(f"{name} {rows:,}" for name, rows in state.accounts.to_json().items())
    if state.rows_ahead is None:
        yield f"  rows {settled} = {state.accounts.settled:,}; not compared with the rows taken, which are not known:"
        yield "  they are counted from the first commit after a gap, or of this release, with nothing stored ahead"
        return
    yield (
        f"  rows taken {state.as_of.rows_taken:,} below offset {state.replay_offset} + stored ahead "
        f"{state.rows_ahead:,} = {settled}"
    )


def verdict(findings: Sequence[Finding]) -> str:
    """Counts by level, of what is more than a note."""
    damaged = sum(found.level is Level.DAMAGE for found in findings)
    left = sum(found.level is Level.LEFT for found in findings)
    parts = [counted(damaged, "damage") if damaged else "", f"{left:,} left over" if left else ""]
    return ", ".join(filter(None, parts)) or "clean"


def advice_text(findings: Iterable[Finding]) -> str:
    """What to do, once for all kinds that it is the same for, the gravest first; "" where nothing was found."""
    kinds: dict[str, list[str]] = {}
    for kind in sorted({found.kind for found in findings}, key=_gravest_first):
        kinds.setdefault(kind.advice, []).append(kind.value)
    return "\n".join(f"{', '.join(names)}: {advice}" for advice, names in kinds.items())


def _gravest_first(kind: Kind) -> tuple[int, str]:
    return -kind.level, kind.value

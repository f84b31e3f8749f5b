"""What a manifest says besides its files: the accounts, the gaps, the dead letters."""

from collections.abc import Iterator
from dataclasses import dataclass

from common.catalog.manifest.state import ManifestState
from common.catalog.paths import dead_letter, dead_letter_of, dead_letters
from common.store.objects import ObjectStore
from common.values.ids import Offset
from common.values.shown import counted
from penstock.fsck.finding import Finding, Kind


def wrong_accounts(state: ManifestState) -> Iterator[Finding]:
    """Where the accounts fit neither the files nor the rows taken from the log."""
    rows = sum(file.rows for file in state.files.values())
    stored, ahead = state.accounts.stored, state.rows_ahead
    if rows != stored:
        yield _wrong(state, f"its files have {counted(rows, 'row')}, and {stored:,} were stored")
    if ahead is None:
        return
    taken = f"{state.as_of.rows_taken:,} rows were taken below offset {state.replay_offset}"
    settled = f"{state.accounts.settled:,} are stored, overwritten, duplicate or dead"
    if ahead < 0:
        yield _wrong(state, f"{taken}, and only {settled}: {counted(-ahead, 'row')} lost")
    if ahead > 0 and not state.stores_ahead:
        yield _wrong(state, f"{taken}, and {settled}: {counted(ahead, 'row')} counted twice")


def _wrong(state: ManifestState, what: str) -> Finding:
    return Finding(Kind.ACCOUNTS, f"sequencer {state.sequencer}: {what}", sequencer=state.sequencer)


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """records: whose bytes are there. bytes: of them. incomplete: bytes without their note, or a note without bytes."""

    records: int
    bytes: int
    incomplete: tuple[Finding, ...]


def dead_letters_of(state: ManifestState, store: ObjectStore) -> DeadLetters:
    """The sequencer's dead letters. One above the replay offset may be half written at this moment."""
    sizes: dict[str, dict[Offset, int]] = {"bin": {}, "json": {}}
    for found in store.list(dead_letters(state.sequencer)):
        if named := dead_letter_of(found.path):
            offset, kind = named
            sizes[kind][offset] = found.size_bytes
    incomplete = tuple(
        Finding(
            Kind.DEAD_LETTER,
            f"it is missing, and {dead_letter(state.sequencer, offset, there)} is there",
            dead_letter(state.sequencer, offset, lacking),
            state.sequencer,
        )
        for lacking, there in (("bin", "json"), ("json", "bin"))
        for offset in sorted(sizes[there].keys() - sizes[lacking].keys())
        if offset < state.replay_offset
    )
    return DeadLetters(len(sizes["bin"]), sum(sizes["bin"].values()), incomplete)

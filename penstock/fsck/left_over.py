"""Objects below data/ that no manifest names: what each is, and which of them `penstock gc` may remove."""

from collections.abc import Iterator
from dataclasses import dataclass

from common.catalog.manifest import manifest
from common.catalog.manifest.state import ManifestState
from common.catalog.paths import manifest_folder, manifest_record, manifest_record_number
from common.catalog.unnamed import Unnamed, foreign_files, unnamed_files
from common.store.objects import ObjectStore, run
from common.values.ids import NO_MANIFEST, ManifestNumber, SequencerId
from common.values.shown import counted
from penstock.fsck.finding import Finding, Kind

_OF_THE_NEWEST_EPOCH = (
    "it is of the newest epoch: an ingester that was killed left it, or one that runs cannot commit. It can be removed "
    "once the sequencer's ingester was started again"
)


@dataclass(frozen=True, slots=True)
class LeftOver:
    """files: of one sequencer, not named by `state`, which was read after they were seen."""

    state: ManifestState
    files: tuple[Unnamed, ...]


def left_over(state: ManifestState, store: ObjectStore) -> LeftOver:
    """What the sequencer has below data/ that is named neither by `state` nor by the newest manifest afterwards.

    Raises DataCorrupt, Unavailable.
    """
    seen = unnamed_files(state, store)
    newest = run(manifest.newer(state), store)
    return LeftOver(newest, tuple(each for each in seen if each.found.path not in newest.files))


def removable(left: LeftOver, older_than_ns: int, store: ObjectStore) -> list[Unnamed]:
    """Those that nobody can ever name, and that were put, and removed from the manifest, before `older_than_ns`.

    Raises DataCorrupt, Unavailable.
    """
    old = [each for each in left.files if each.can_be_removed(left.state) and each.found.modified_ns < older_than_ns]
    named = _named_since(left.state, {each.found.path for each in old}, older_than_ns, store) if old else set()
    return [each for each in old if each.found.path not in named]


def _named_since(state: ManifestState, paths: set[str], since_ns: int, store: ObjectStore) -> set[str]:
    """Which of `paths` some manifest named at `since_ns` or later: a query that began then may be reading them."""
    listed = (found for found in store.list(manifest_folder(state.sequencer)) if found.modified_ns < since_ns)
    first = max((manifest_record_number(found.path, state.sequencer) or 1 for found in listed), default=1)
    named: set[str] = set()
    then = None
    for number in range(first, state.number + 1):
        then = run(manifest.load_at(state.sequencer, ManifestNumber(number), then), store)
        named |= {path for path in paths if path in then.files}
    return named


def remove(left: LeftOver, files: list[Unnamed], store: ObjectStore) -> Iterator[Unnamed]:
    """Remove `files`, which are removable; each is returned once it is gone. Raises Unavailable."""
    if files and left.state.number != NO_MANIFEST:
        # Were the claim that superseded their writer lost in a crash, the writer could still name them.
        store.make_durable(manifest_record(left.state.sequencer, left.state.number))
    for each in files:
        store.delete(each.found.path)
        yield each


def finding(unnamed: Unnamed, state: ManifestState, now_ns: int, grace_s: float) -> Finding:
    """What an unnamed file is. state: read after it was seen."""
    age_s = max(0.0, (now_ns - unnamed.found.modified_ns) / 1e9)
    kind, why = _kind(unnamed, state, is_young=age_s < grace_s)
    size = counted(unnamed.found.size_bytes, "byte")
    what = f"no manifest record names it ({size}, {_age(age_s)} old); {why}"
    return Finding(kind, what, unnamed.found.path, state.sequencer)


def _kind(unnamed: Unnamed, state: ManifestState, is_young: bool) -> tuple[Kind, str]:
    epochs = f"it is of epoch {unnamed.name.epoch}, and the manifest of epoch {state.epoch}"
    if unnamed.name.epoch > state.epoch:
        return Kind.LATER_EPOCH, epochs
    if unnamed.same_as:
        return Kind.DISPLACED, f"it has the name of {unnamed.same_as}"
    if gap := unnamed.gap(state):
        return Kind.GAP_ROWS, f"it may have rows of the gap, offsets {gap.first_offset} to {gap.next_offset - 1}"
    if is_young:
        return Kind.WAITING, "one may soon"
    if unnamed.can_be_named(state):
        return Kind.ORPHAN, _OF_THE_NEWEST_EPOCH
    return Kind.ORPHAN, f"none ever will: {epochs}"


def foreign(store: ObjectStore, sequencers: int) -> Iterator[Finding]:
    """What is below data/ and no sequencer wrote."""
    for each in foreign_files(store, sequencers):
        yield Finding(
            Kind.FOREIGN, f"it is no data file of this cluster ({counted(each.size_bytes, 'byte')})", each.path
        )


def orphans_of(sequencer: SequencerId, store: ObjectStore) -> LeftOver:
    """As `left_over`, from the newest manifest on."""
    return left_over(run(manifest.load(sequencer), store), store)


def _age(age_s: float) -> str:
    for unit, seconds in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if age_s >= seconds:
            return counted(int(age_s / seconds), unit)
    return counted(int(age_s), "second")

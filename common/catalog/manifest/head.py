"""The newest manifest record of a sequencer: which number it has, and up to where it says that rows are durable.

Numbers are dense from 1 and a listing may lag, so records are looked for by their names: all at once in the window of
numbers after the hint, where the newest nearly always is, and by doubling and halving steps beyond.
"""

from dataclasses import dataclass, field

from common.catalog.manifest.change import StreamMark
from common.catalog.manifest.checkpoint import RECORDS_MAX
from common.catalog.manifest.envelope import incomplete, is_offset, unsealed
from common.catalog.manifest.hint import read_hint
from common.catalog.paths import manifest_checkpoint, manifest_record
from common.store.objects import Get, GetAll, MakeDurable, NotFound, Steps
from common.values.errors import DataCorrupt
from common.values.ids import NO_MANIFEST, ManifestNumber, Offset, SequencerId

WINDOW = RECORDS_MAX + 1
"""One more than there may be after the checkpoint that the hint names: a window that is full means a hint too low."""


@dataclass(frozen=True, slots=True)
class Head:
    """As of record `number` every row below `replay_offset` of `stream` is durable in the store."""

    number: ManifestNumber
    replay_offset: Offset
    stream: StreamMark


@dataclass(frozen=True, slots=True)
class Found:
    """The newest record's number, and the objects that were read on the way, by path."""

    number: ManifestNumber
    objects: dict[str, bytes] = field(default_factory=dict)


def find_head(sequencer: SequencerId, at_least: ManifestNumber = NO_MANIFEST) -> Steps[ManifestNumber]:
    """The greatest number there is. Raises as `search`."""
    return (yield from search(sequencer, at_least)).number


def search(sequencer: SequencerId, at_least: ManifestNumber = NO_MANIFEST) -> Steps[Found]:
    """Find the newest record. at_least: a number known to exist.

    Raises DataCorrupt where a record is missing below one that exists, Unavailable.
    """
    low = at_least
    if at_least == NO_MANIFEST:
        low = yield from read_hint(sequencer)
    elif not (yield from _exists(sequencer, ManifestNumber(at_least + 1))):
        return Found(at_least)
    found = yield from _window(sequencer, low)
    if found is None:  # the hint is wrong
        low = NO_MANIFEST
        found = yield from _window(sequencer, low)
    while found and found.number == low + WINDOW:
        low = yield from _doubled(sequencer, found.number)
        found = yield from _window(sequencer, low)
    if found is None:
        raise missing(sequencer, low, "although it was there before")
    return found


def head(sequencer: SequencerId, known: Head | None = None) -> Steps[Head | None]:
    """What the newest record says; it is durable at the return, so that records below it may be removed for good.

    known: what this returned before. None where there is no record. Raises DataCorrupt, Unavailable.
    """
    found = yield from search(sequencer, known.number if known else NO_MANIFEST)
    if found.number == NO_MANIFEST or (known and known.number == found.number):
        return known
    where = manifest_record(sequencer, found.number)
    newest = _parsed(found.number, found.objects.get(where) or (yield Get(where)), where)
    yield MakeDurable(where)
    return newest


def missing(sequencer: SequencerId, number: ManifestNumber, why: str) -> DataCorrupt:
    where = manifest_record(sequencer, number)
    return DataCorrupt(
        f"sequencer {sequencer}: manifest record {number} is missing, {why}. Restore {where} from a copy of the store",
        path=where,
        sequencer=sequencer,
        number=number,
    )


def _parsed(number: ManifestNumber, data: bytes, where: str) -> Head:
    values = unsealed(data, where)
    try:
        replay_offset, stream = values["replay_offset"], StreamMark.from_json(values["stream"])
        if not is_offset(replay_offset) or not isinstance(stream.identity, str):
            raise TypeError(f"replay offset {replay_offset!r}, identity {stream.identity!r}")
    except (KeyError, TypeError, ValueError) as error:
        raise incomplete(where, error) from None
    return Head(number, Offset(replay_offset), stream)


def _window(sequencer: SequencerId, low: ManifestNumber) -> Steps[Found | None]:
    """The newest of the records low .. low + WINDOW, read together; None where `low` does not exist.

    With them comes the checkpoint at `low`, which the newest of them probably names.
    """
    names = {manifest_record(sequencer, ManifestNumber(n)): n for n in range(max(low, 1), low + WINDOW + 1)}
    asked = (*names, *([] if low == NO_MANIFEST else [manifest_checkpoint(sequencer, low)]))
    objects = {name: data for name, data in zip(asked, (yield GetAll(asked)), strict=True) if data is not None}
    present = {names[name] for name in objects if name in names}
    if low != NO_MANIFEST and low not in present:
        return None
    newest = low
    while newest + 1 in present:
        newest = ManifestNumber(newest + 1)
    if max(present, default=low) > newest:
        yield from _prove_present(sequencer, ManifestNumber(newest + 1), ManifestNumber(max(present)))
        return (yield from _window(sequencer, newest))
    return Found(newest, objects)


def _prove_present(sequencer: SequencerId, number: ManifestNumber, above: ManifestNumber) -> Steps[None]:
    """It was written before `above` was; only a look before that could fail to see it."""
    if not (yield from _exists(sequencer, number)):
        raise missing(sequencer, number, f"although record {above} exists")


def _doubled(sequencer: SequencerId, low: ManifestNumber) -> Steps[ManifestNumber]:
    """The greatest number there is, from `low`, which exists, by doubling steps, then by halving the last one."""
    step = WINDOW
    while (yield from _exists(sequencer, ManifestNumber(low + step))):
        low = ManifestNumber(low + step)
        step *= 2
    high = low + step
    while high - low > 1:
        middle = ManifestNumber((low + high) // 2)
        if (yield from _exists(sequencer, middle)):
            low = middle
        else:
            high = middle
    return low


def _exists(sequencer: SequencerId, number: ManifestNumber) -> Steps[bool]:
    try:
        yield Get(manifest_record(sequencer, number))
    except NotFound:
        return False
    return True

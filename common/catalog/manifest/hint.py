"""A number at which to begin to look for the newest record: an advice that is checked, never believed.

    manifest/<sequencer:03>/hint.json     {"xxh3":"<16 hex>","record":{"format":2,"checkpoint":N}}

Replaced after each new checkpoint. It may be missing, too low (its put failed, or landed late) or, in a store that
was restored in part, too high.
"""

from common.catalog.manifest.envelope import FORMAT, sealed, unsealed
from common.catalog.paths import manifest_hint
from common.store.objects import Get, NotFound, Steps
from common.values.errors import DataCorrupt
from common.values.ids import NO_MANIFEST, ManifestNumber, SequencerId


def encode_hint(checkpoint: ManifestNumber) -> bytes:
    return sealed({"format": FORMAT, "checkpoint": checkpoint})


def read_hint(sequencer: SequencerId) -> Steps[ManifestNumber]:
    """0 where there is none that can be read. Raises Unavailable."""
    where = manifest_hint(sequencer)
    try:
        number = unsealed((yield Get(where)), where).get("checkpoint")
    except (NotFound, DataCorrupt):
        return NO_MANIFEST
    return ManifestNumber(number) if type(number) is int and 0 < number < 10**20 else NO_MANIFEST

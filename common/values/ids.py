"""The numbers that name things, as types of their own, so that one is never passed for another."""

from typing import NewType

SequencerId = NewType("SequencerId", int)
"""A sequencer's number, 0..N-1."""

Offset = NewType("Offset", int)
"""A record's position in its sequencer: non-negative, strictly increasing, not always dense."""

Epoch = NewType("Epoch", int)
"""Counts the claims of one sequencer (or one log's writers); the higher one wins."""

ManifestNumber = NewType("ManifestNumber", int)
"""A manifest record's number: dense, from 1."""

NO_MANIFEST = ManifestNumber(0)
"""The number before the first record: nothing was ever committed."""

NO_EPOCH = Epoch(0)
"""Below every claim's epoch."""

ZERO = Offset(0)

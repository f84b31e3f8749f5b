"""Settled schemas that a parser is known to lack, until they go out with its next batch of their namespace.

A parser is never sent a whole namespace: it says which tables of a batch it is short of (ParsedBatch.lacking), and
needs what its own batches settle. One that was restarted says so again.
"""

from router.parsing.schemas import Schemas


class News:
    """For all parsers of one router, by slot."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[int, str], Schemas] = {}

    def add(self, slot: int, namespace: str, schemas: Schemas) -> None:
        if schemas:
            self._waiting[slot, namespace] = {**self._waiting.get((slot, namespace), {}), **schemas}

    def pop(self, slot: int, namespace: str) -> Schemas:
        """What to send with the next batch; it counts as known from then on."""
        return self._waiting.pop((slot, namespace), {})

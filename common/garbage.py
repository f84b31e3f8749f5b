"""How often the collector of cycles looks through a process's objects.

A router and an ingester make thousands of small tuples for each write or poll, nearly all of which reference counting
frees. Python's default looks at the newest after each 700 and then at older ones, which took a third of an append and a
seventh of applying a small record. Cycles are rare here, and few: they can wait.
"""

import gc

NEW_OBJECTS = 50_000
"""Containers made and not freed before the newest are looked through: about a millisecond's work."""

YOUNGER_COLLECTIONS = 10
"""So many looks at one generation before a look at the next older one. The oldest must also have grown by a quarter."""


def collect_seldom() -> None:
    """Leave out of all later looks what is there now, modules above all, and look seldom. Call once all is imported."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, YOUNGER_COLLECTIONS, YOUNGER_COLLECTIONS)

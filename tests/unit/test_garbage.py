"""The collector of cycles in a process of its own: seldom, and not never."""

import subprocess
import sys

PROGRAM = """
import gc, weakref
from common.garbage import collect_seldom

class Cycle:
    def __init__(self):
        self.own = self

collect_seldom()
frozen = gc.get_freeze_count()
found = weakref.ref(Cycle())
held = [[] for _ in range(200_000)]
print(frozen > 1000, gc.isenabled(), found() is None, gc.get_stats()[0]["collections"] < 1000)
"""


def test_cycles_are_found_though_seldom() -> None:
    """What was there is left out; a cycle that is made later is freed once enough objects were made."""
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=100, check=True)
    assert ran.stdout.split() == ["True", "True", "True", "True"]

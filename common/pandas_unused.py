"""Keeps pandas out of processes that do not use it.

pyarrow imports pandas, where it is installed, the first time a Python list becomes an array, to know whether the list
is one of its objects: 0.2 s of CPU and 40 MB for every router, worker and ingester.
"""

import sys
from collections.abc import Sequence
from types import ModuleType

import pyarrow as pa


class _NoPandas:
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("not imported here", name=name)


def keep_pandas_out() -> None:
    """Have pyarrow look for pandas now, and find none: it does not look again. Whoever imports pandas still gets it.

    Call before other threads import.
    """
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(finder)

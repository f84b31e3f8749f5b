"""Parquet files, each decoded once: a function of the bytes, and files are read far more often than written here."""

from functools import lru_cache

import pyarrow as pa
import pyarrow.parquet as pq


@lru_cache(maxsize=2048)
def parquet(data: bytes) -> pa.Table:
    """The file's rows. On one thread: the hand-over to another takes longer than reading a few rows."""
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)

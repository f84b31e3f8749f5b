"""Rows in memory, not yet persisted: partitions of chunks."""

"""The ingester: one process for each sequencer, from its stream to memory, queries and sorted Parquet.

core.py decides, without I/O; service.py polls, persists, commits and serves; main.py wires them.
"""

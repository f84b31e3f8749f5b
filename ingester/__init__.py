"""The ingester: one process for each sequencer, from its stream to memory, queries and sorted Parquet.

core/ decides, without I/O; service.py drives it, and performing.py does what it asks for; main.py wires them.
following/ is where reading begins, buffer/ the rows in memory, persist/ the Parquet, serving/ the queries.
"""

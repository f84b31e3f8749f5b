"""The proof of the contract: one suite of tests, run unchanged on every backend. Part of the package, for everybody.

    penstock conformance URL                                          a readable report
    pytest --pyargs writebuffer.conformance --write-buffer URL        with everything pytest offers

A backend takes part by being Provable (writebuffer/proving.py); docs/write-a-backend.md walks through one. Needs
`pip install 'penstock[conformance]'`. A test never asks which backend it runs on. One of a power that the backend does
not declare is "not run", which is neither passed nor failed.
"""

GROUPS = (
    "one_stream",
    "cursors",
    "sequencers",
    "together",
    "waking",
    "seek",
    "offsets",
    "never_reused",
    "trim",
    "time",
    "batching",
    "closing",
    "wrong_calls",
    "creation",
    "killed",
    "duplicates",
    "faults",
    "headers",
    "durable_only",
    "identity",
    "dead_threads",
    "lag",
    "powers",
)
"""In this order they run and are reported; group X is test_X.py, whose docstring says what it is about."""

NOT_RUN = "not run: "
"""With this a skip's reason begins where a power is not declared."""

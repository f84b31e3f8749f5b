"""Backends that break the contract on purpose, one rule each: `broken:NAME`, of the memory, file or example backend.

"gapped" is the example with gaps (tests/support/gapped_buffer.py). Each is a backend with a fault (faulty.py) whose
`group` is the one that has to catch it, by the tests and for the reasons of `caught_by`. `broken:nothing:BASE` is the
twin without a fault.
"""

import inspect
from typing import Any

from docs.examples.sqlite_buffer import SqliteBackend
from tests.conformance import broken_buffers, broken_reads, broken_writes
from tests.conformance.faulty import Fault
from tests.support.gapped_buffer import GappedBackend
from writebuffer.file.proving import ProofBackend
from writebuffer.memory import MemoryBackend


class Nothing(Fault):
    """The twin."""


FAULTS: dict[str, type[Fault]] = {
    name: kind
    for module in (broken_reads, broken_writes, broken_buffers)
    for name, kind in vars(module).items()
    if inspect.isclass(kind) and issubclass(kind, Fault) and kind is not Fault
}


def url_of(fault: str, base: str, folder: object) -> str:
    """What `from_url` takes. folder: for the bases that need one."""
    return f"broken:{fault}:{base}:{folder}/{fault}"


def from_url(url: str) -> Any:
    """A backend with that fault, for --backend."""
    _, name, base, path = url.split(":", 3)
    kind = FAULTS.get(name, Nothing)
    backend: Any
    if base == "sqlite":
        backend = SqliteBackend(f"sqlite://{path}")
    elif base == "gapped":
        backend = GappedBackend(f"sqlite://{path}")
    elif base == "file":
        backend = ProofBackend(path)
    else:
        backend = MemoryBackend()
    backend.url = url
    return _broken(kind(backend), backend, f"broken:{name}:{base}:{path}")


def _broken(fault: Fault, backend: Any, url: str) -> Any:
    open_writer, open_reader = backend.open_writer, backend.open_reader

    def open_broken_reader() -> Any:
        reader = open_reader()
        open_cursor = reader.cursor
        reader.cursor = lambda sequencer: fault.break_into(open_cursor(sequencer))
        return fault.break_into(reader)

    backend.beside = lambda name: from_url(f"{url}-{name}")
    backend.open_writer = lambda: fault.break_into(open_writer())
    backend.open_reader = open_broken_reader
    return fault.break_into(backend)

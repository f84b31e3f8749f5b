"""The object store in memory, and one process's connection to it, where calls fail, arrive late or kill the caller.

What DictStore (tests/support) cannot do: a put whose answer never came may still land later, when its process is long
dead or has tried again; and while a call is on its way, other things happen.
"""

from collections.abc import Callable, Iterator

from common.store.objects import AlreadyExists, NotFound, StoredObject
from common.values.errors import Unavailable
from tests.simulation.chaos import Chaos, Crashed, Fate


class MemoryStore:
    """An ObjectStore without faults. on_put: called with the path and bytes of every object that comes into being."""

    url = "memory:simulation"

    def __init__(self, on_put: Callable[[str, bytes], None]) -> None:
        self.objects: dict[str, bytes] = {}
        self.late: list[Callable[[], None]] = []
        self._on_put = on_put

    def put(self, path: str, data: bytes) -> None:
        self.objects[path] = data
        self._on_put(path, data)

    def put_if_absent(self, path: str, data: bytes) -> None:
        if path in self.objects:
            raise AlreadyExists(f"object {path} exists already", path=path)
        self.put(path, data)

    def get(self, path: str) -> bytes:
        if path not in self.objects:
            raise NotFound(f"no object at {path}", path=path)
        return self.objects[path]

    def make_durable(self, path: str) -> None:
        self.get(path)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        for path in sorted(self.objects):
            if path.startswith(f"{prefix}/"):
                yield StoredObject(path, len(self.objects[path]))

    def delete(self, path: str) -> None:
        self.objects.pop(path, None)

    def local_path(self, path: str) -> str | None:
        return None


class Connection:
    """An ObjectStore as one process meets it. Any call may raise Crashed; so does one whose process died meanwhile."""

    def __init__(self, store: MemoryStore, chaos: Chaos, meanwhile: Callable[[], None]) -> None:
        """meanwhile: lets other things happen while a call is on its way; raises Crashed if the process is dead."""
        self.url = store.url
        self._store = store
        self._chaos = chaos
        self._meanwhile = meanwhile

    def put(self, path: str, data: bytes) -> None:
        self._write(path, lambda: self._store.put(path, data))

    def put_if_absent(self, path: str, data: bytes) -> None:
        self._write(path, lambda: self._store.put_if_absent(path, data))

    def delete(self, path: str) -> None:
        self._write(path, lambda: self._store.delete(path))

    def get(self, path: str) -> bytes:
        self._read(path)
        return self._store.get(path)

    def make_durable(self, path: str) -> None:
        self._read(path)
        self._store.make_durable(path)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        self._read(prefix)
        yield from self._store.list(prefix)

    def local_path(self, path: str) -> str | None:
        return None

    def _write(self, path: str, write: Callable[[], None]) -> None:
        self._meanwhile()
        fate = self._chaos.write()
        if fate is Fate.CRASH_BEFORE:
            raise Crashed
        if fate is Fate.LATE:
            self._store.late.append(lambda: _land(write))
        if fate in (Fate.DONE, Fate.LOST, Fate.CRASH_AFTER):
            write()
        if fate is Fate.CRASH_AFTER:
            raise Crashed
        if fate is not Fate.DONE:
            raise Unavailable(f"object store: {path}: injected, {fate.value}", written="unknown", path=path)

    def _read(self, path: str) -> None:
        self._meanwhile()
        self._chaos.crash_point()
        if self._chaos.read_fails():
            raise Unavailable(f"object store: {path}: injected", path=path)


def _land(write: Callable[[], None]) -> None:
    try:
        write()
    except AlreadyExists:
        return  # the process tried again, or another was faster; nobody waits for this answer

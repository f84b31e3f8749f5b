"""An object store in a dict, whose next calls can be made to fail before or after they did their work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from common.store.objects import AlreadyExists, NotFound, StoredObject
from common.values.errors import Unavailable


class DictStore:
    """An ObjectStore. `calls`: (kind, path) of each one so far. `now_ns`: its clock."""

    url = "memory:dict"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.now_ns = 0
        self._put_ns: dict[str, int] = {}
        self.calls: list[tuple[str, str]] = []
        self._faults: list[tuple[str, str]] = []
        self._reads_fail = False

    def fail(self, prefix: str, how: str = "before", times: int = 1) -> None:
        """The next puts below `prefix` raise Unavailable. how: `before`: nothing is written; `after`: it is."""
        self._faults += [(prefix, how)] * times

    def fail_reads(self) -> None:
        """Every get and list raises Unavailable from now on."""
        self._reads_fail = True

    @contextmanager
    def silent(self) -> Iterator[None]:
        """For a while every get and list raises Unavailable."""
        before, self._reads_fail = self._reads_fail, True
        try:
            yield
        finally:
            self._reads_fail = before

    def put(self, path: str, data: bytes) -> None:
        self._write("put", path, lambda: self.objects.__setitem__(path, data))

    def put_if_absent(self, path: str, data: bytes) -> None:
        if path in self.objects:
            self.calls.append(("put_if_absent", path))
            raise AlreadyExists(f"object {path} exists already", path=path)
        self._write("put_if_absent", path, lambda: self.objects.__setitem__(path, data))

    def get(self, path: str) -> bytes:
        self.calls.append(("get", path))
        if self._reads_fail:
            raise Unavailable(f"object store: {path}: injected")
        if path not in self.objects:
            raise NotFound(f"no object at {path}", path=path)
        return self.objects[path]

    def make_durable(self, path: str) -> None:
        self.calls.append(("make_durable", path))
        if path not in self.objects:
            raise NotFound(f"no object at {path}", path=path)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        self.calls.append(("list", prefix))
        if self._reads_fail:
            raise Unavailable(f"object store: {prefix}: injected")
        for path in list(self.objects):
            if path.startswith(f"{prefix}/"):
                yield StoredObject(path, len(self.objects[path]), self._put_ns.get(path, 0))

    def delete(self, path: str) -> None:
        self.objects.pop(path, None)

    def local_path(self, path: str) -> str | None:
        return None

    def _write(self, kind: str, path: str, write: Callable[[], None]) -> None:
        self.calls.append((kind, path))
        fault = next((fault for fault in self._faults if path.startswith(fault[0])), None)
        self._put_ns[path] = self.now_ns
        if fault is None:
            return write()
        self._faults.remove(fault)
        if fault[1] == "after":
            write()
        raise Unavailable(f"object store: {path}: injected {fault[1]}", written="unknown", path=path)

"""A scenario again and again, with a crash before and after each thing that it makes durable or removes."""

from collections.abc import Callable

from common.values.ids import Offset
from tests.scenarios.scenario import Scenario
from tests.support.dict_store import DictStore


class Crashed(BaseException):
    """The process is dead here; no code of it handles that."""


class Points:
    """Those that were reached, in order, and at which of them to crash: by its place, none for -1."""

    def __init__(self, crash_at: int = -1) -> None:
        self.reached: list[str] = []
        self._crash_at = crash_at

    def around(self, what: str, act: Callable[[], None]) -> None:
        self._reach(f"before {what}")
        act()
        self._reach(f"after {what}")

    def _reach(self, point: str) -> None:
        self.reached.append(point)
        if len(self.reached) - 1 == self._crash_at:
            raise Crashed


class CrashingStore(DictStore):
    """A point before and after each put and delete, named by the object's folder."""

    def __init__(self, points: Points) -> None:
        super().__init__()
        self._points = points

    def delete(self, path: str) -> None:
        self._points.around(f"delete {path.partition('/')[0]}", lambda: super(CrashingStore, self).delete(path))

    def _write(self, kind: str, path: str, write: Callable[[], None]) -> None:
        self._points.around(path.partition("/")[0], lambda: super(CrashingStore, self)._write(kind, path, write))


def crash_everywhere(text: str, given: str = "", **rules: int) -> list[str]:
    """Play `text` after `given` once for each of its points, with the crash there; the points in order.

    Whatever was made durable by then, the next process reads every row once, as at the end of every scenario.
    """
    points = _played(text, given, -1, rules).reached
    for crash_at in range(len(points)):
        _played(text, given, crash_at, rules)
    return points


def _played(text: str, given: str, crash_at: int, rules: dict[str, int]) -> Points:
    quiet, points = Points(), Points(crash_at)
    store = CrashingStore(quiet)
    scenario = Scenario(store, **rules).do(given)
    stream = scenario.one("A").rig.stream
    trim = stream.trim
    stream.trim = lambda before: points.around("trim", lambda: trim(Offset(before)))  # type: ignore[method-assign]
    store._points = points
    try:
        scenario.do(text)
    except Crashed:
        scenario.store._reads_fail = False
    store._points, stream.trim = quiet, trim  # type: ignore[method-assign]
    try:
        scenario.end()
    except Exception as error:
        where = points.reached[crash_at] if crash_at >= 0 else "no crash"
        raise AssertionError(f"point {crash_at} ({where}): {error}") from error
    return points

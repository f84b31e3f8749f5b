"""Store steps with one store call at a time, so that a test can stop, fail or reorder between any two of them."""

from collections.abc import Generator
from typing import Any

from common.store.objects import Get, GetAll, NotFound, PutAll, Steps, T
from common.values.errors import PenstockError


def single_calls(steps: Steps[T]) -> Generator[Any, Any, T]:
    """The same steps: GetAll as one Get after another, PutAll as PutAlls of one object each.

    What else `steps` yields (reports of a test's actor) passes through.
    """
    try:
        call = next(steps)
        while True:
            try:
                answer = yield from _singly(call)
            except PenstockError as error:
                call = steps.throw(error)
            else:
                call = steps.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result


def _singly(call: Any) -> Generator[Any, Any, Any]:
    match call:
        case GetAll(paths):
            found = []
            for path in paths:
                try:
                    found.append((yield Get(path)))
                except NotFound:
                    found.append(None)
            return tuple(found)
        case PutAll(objects):
            for each in objects:
                yield PutAll((each,))
            return b""
        case _:
            return (yield call)

"""Store steps (common/store/objects.py) performed one call at a time, with anything in between."""

from collections.abc import Callable
from typing import Any

from common.store.objects import ObjectStore, Steps, StoreCall, perform
from common.values.errors import PenstockError
from tests.support.single_calls import single_calls


class StoreTask:
    """One generator on its way. Each `advance` performs its call, or hands it the answer, until it has ended."""

    def __init__(
        self,
        name: str,
        steps: Steps[Any],
        store: ObjectStore,
        done: Callable[[Any], None],
        failed: Callable[[PenstockError], None],
    ) -> None:
        """done, failed: called once, with what the steps returned or raised."""
        self.name = name
        self.ended = False
        self._steps = single_calls(steps)
        self._store = store
        self._done = done
        self._failed = failed
        self._call: StoreCall | None = None
        self._answer: bytes | PenstockError | None = None
        self._resume(lambda: next(self._steps))

    def advance(self) -> None:
        if self._answer is None:
            self._answer = self._perform()
            return
        answer, self._answer = self._answer, None
        if isinstance(answer, PenstockError):
            self._resume(lambda: self._steps.throw(answer))
        else:
            self._resume(lambda: self._steps.send(answer))

    def _perform(self) -> bytes | PenstockError:
        assert self._call is not None
        try:
            return perform(self._call, self._store)
        except PenstockError as error:
            return error

    def _resume(self, resume: Callable[[], StoreCall]) -> None:
        try:
            self._call = resume()
        except StopIteration as stop:
            self.ended = True
            self._done(stop.value)
        except PenstockError as error:
            self.ended = True
            self._failed(error)

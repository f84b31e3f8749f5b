"""The newest view, handed from the core's thread to those that answer queries."""

import threading
from collections.abc import Callable

from common.values.clock import Clock, SystemClock
from common.values.errors import Unavailable
from common.values.ids import NO_EPOCH, NO_MANIFEST, ZERO, Epoch, Offset, SequencerId
from ingester.core.view import View


class Published:
    """The newest view, handed from the core's thread to any other. Reading it takes no lock; waiting does."""

    def __init__(self, sequencer: SequencerId, clock: Clock | None = None) -> None:
        """Not ready before `begin`."""
        self.sequencer = sequencer
        self._clock = clock or SystemClock()
        self._began_s = 0.0
        self._began_at = ZERO
        self.epoch = NO_EPOCH
        self.view = View(NO_MANIFEST, ZERO, {})
        self.ready_at: Offset | None = None
        self._newest: Callable[[], Offset] = lambda: ZERO
        self._hurry: Callable[[], None] = lambda: None
        self._ended = False
        self._changed = threading.Condition()

    @property
    def is_ready(self) -> bool:
        return self.ready_at is not None and self.view.applied_offset >= self.ready_at

    @property
    def seconds_left(self) -> float | None:
        """Until it is ready, at the pace since `begin`; 0 once it is, None where nothing can be said yet."""
        if self.ready_at is None:
            return None
        applied = self.view.applied_offset
        if applied >= self.ready_at:
            return 0.0
        if applied == self._began_at:
            return None
        return (self.ready_at - applied) * (self._clock.monotonic_s() - self._began_s) / (applied - self._began_at)

    def begin(
        self,
        epoch: Epoch,
        view: View,
        ready_at: Offset,
        newest: Callable[[], Offset],
        hurry: Callable[[], None] = lambda: None,
    ) -> None:
        """Serve from here on. ready_at: the next offset seen at start; below it, readable rows may be missing.

        newest: the buffer's next offset now; may raise Unavailable. hurry: has the buffer polled at once.
        """
        with self._changed:
            self._began_s, self._began_at = self._clock.monotonic_s(), view.applied_offset
            self.epoch, self.view, self.ready_at = epoch, view, ready_at
            self._newest, self._hurry = newest, hurry
            self._changed.notify_all()

    def end(self) -> None:
        """The ingester stops: whoever waits for more than the last view has gets the error at once."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def publish(self, view: View) -> None:
        if view is not self.view:
            with self._changed:
                self.view = view
                self._changed.notify_all()

    def wait(self, clock: Clock, above: Offset | None, timeout_s: float) -> View:
        """The view once everything readable at start, and the record at `above`, is applied.

        Raises Unavailable at the timeout, naming this sequencer and how far it got.
        """
        deadline_s = clock.monotonic_s() + timeout_s
        with self._changed:
            while not self._has_applied(above):
                self._hurry()
                left_s = deadline_s - clock.monotonic_s()
                if left_s <= 0 or self._ended:
                    raise self._behind(above, f"after {timeout_s:.3g} s" if left_s <= 0 else "and is stopping")
                self._changed.wait(left_s)
            return self.view

    def wait_fresh(self, timeout_s: float) -> tuple[View, Offset | None]:
        """The view once all that the buffer holds at this moment is applied, or the newest view after `timeout_s`.

        With it the buffer's next offset of this moment; None while the buffer is away.
        """
        try:
            newest = self._newest()
        except Unavailable:
            return self.view, None
        with self._changed:
            if self.view.applied_offset < newest:
                self._hurry()
            self._changed.wait_for(lambda: self._ended or self.view.applied_offset >= newest, timeout_s)
        return self.view, newest

    def _behind(self, above: Offset | None, since: str) -> Unavailable:
        wanted = "the start of its stream" if self.ready_at is None else max(self.ready_at - 1, above or 0)
        return Unavailable(
            f"sequencer {self.sequencer} has applied up to {self.view.applied_offset} and not yet {wanted} {since}; "
            "ask again",
            sequencer=self.sequencer,
            applied_offset=self.view.applied_offset,
        )

    def _has_applied(self, offset: Offset | None) -> bool:
        return self.is_ready and (offset is None or self.view.applied_offset > offset)

"""What queries wait for, and for about how long."""

from common.values.clock import SystemClock
from common.values.ids import Epoch, ManifestNumber, Offset, SequencerId
from ingester.core.view import View
from ingester.serving.published import Published


class HandClock(SystemClock):
    """Goes on by hand."""

    now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s


def view(applied: int) -> View:
    return View(ManifestNumber(1), Offset(applied), {})


def test_how_long_a_replay_takes_follows_its_pace() -> None:
    """Unknown before the claim and before the first records; then by what was applied since; 0 once it is ready."""
    clock = HandClock()
    published = Published(SequencerId(0), clock)
    assert published.seconds_left is None
    published.begin(Epoch(1), view(100), Offset(1100), lambda: Offset(1100))
    clock.now_s = 2.0
    assert published.seconds_left is None
    published.publish(view(300))
    assert published.seconds_left == 8.0
    clock.now_s = 4.0
    published.publish(view(1000))
    assert round(published.seconds_left or 0, 3) == 0.444
    published.publish(view(1100))
    assert (published.seconds_left, published.is_ready) == (0.0, True)


def test_nothing_to_replay_is_ready_at_once() -> None:
    published = Published(SequencerId(0), HandClock())
    published.begin(Epoch(1), view(7), Offset(7), lambda: Offset(7))
    assert published.seconds_left == 0.0

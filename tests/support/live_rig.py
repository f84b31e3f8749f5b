"""A sequencer that answers queries: an ingester core driven step by step, with a real Flight server before it."""

from types import TracebackType

from common.store.objects import ObjectStore
from common.values.addresses import Address
from common.values.clock import SystemClock
from common.values.ids import Offset, SequencerId
from ingester.serving.flight import QueryServer
from ingester.serving.published import Published
from tests.support.ingester_rig import IngesterRig


class LiveRig:
    """Use as a context. What the core holds is seen by queries once `show` was called."""

    def __init__(self, store: ObjectStore | None = None, sequencer: int = 0) -> None:
        self.published = Published(SequencerId(sequencer))
        self.server = QueryServer(self.published, SystemClock(), Address("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.server.port}"
        self.rig = IngesterRig(store=store, sequencer=SequencerId(sequencer), flight_address=self.address)
        self.begin(self.rig.next_offset)

    def begin(self, ready_at: Offset) -> None:
        core = self.rig.core
        self.published.begin(core.state.epoch, core.view, ready_at, lambda: self.rig.core.applied_offset)

    def show(self) -> None:
        self.published.publish(self.rig.core.view)

    def __enter__(self) -> "LiveRig":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.server.shutdown()

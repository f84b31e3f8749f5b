"""Ingesters, their streams and their store: what the steps of a scenario happen to.

An ingester is a core with a driver that does one thing at a time (tests/support/ingester_rig.py), so a step is one
thing. Ingesters of one scenario share the store; those of one sequencer share its stream too.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from common.catalog.manifest.frontier import TIME_END
from common.catalog.partition_key import PartitionKey
from common.values.ids import Offset, SequencerId
from ingester.core.lifecycle import Due, Figures, Reason, Rules, plan
from tests.scenarios.language import WrongStep
from tests.support.dict_store import DictStore
from tests.support.ingester_rig import RULES, SEQUENCER, IngesterRig
from tests.support.records import DAY0_NS
from tests.support.rig_stream import RigStream


class CutsToOrder:
    """A policy: the lifecycle's own, and what a step asks for besides."""

    def __init__(self) -> None:
        self.asked: Callable[[PartitionKey], bool] = lambda key: False
        self.until_ns = TIME_END

    def __call__(
        self, partitions: Iterable[Figures], now_ns: int, rules: Rules, memory_bytes: int, log_kept_from: Offset
    ) -> Sequence[Due]:
        known = list(partitions)
        due = {one.key: one for one in plan(known, now_ns, rules, memory_bytes, log_kept_from)}
        due |= {one.key: Due(one.key, Reason.ROWS, self.until_ns) for one in known if self.asked(one.key)}
        return list(due.values())


@dataclass
class Ingester:
    """ready_at: what the log held at its claim; before that is applied, files may be ahead of what it has read.

    is_superseded: another one claimed its sequencer, and it may not know yet.
    """

    rig: IngesterRig
    policy: CutsToOrder
    ready_at: Offset
    is_superseded: bool = False


class World:
    """lost: files that were deleted by hand; what is read is not checked while a manifest names one of them."""

    def __init__(self, store: DictStore | None = None, **rules: int) -> None:
        """rules: in place of some of the RULES; times in ns."""
        self.store = store or DictStore()
        self.rules = replace(RULES, **rules)
        self.lost: set[str] = set()
        self.ingesters: dict[str, Ingester] = {}
        self._sequencers: dict[str, SequencerId] = {}
        self.claim("A", SEQUENCER)

    def claim(self, name: str, sequencer: SequencerId) -> None:
        """A new ingester, on a stream of its own where none was there before; older ones are superseded."""
        older = [one for other, one in self.ingesters.items() if self._sequencers[other] == sequencer]
        stream = older[0].rig.stream if older else RigStream()
        now_ns = older[-1].rig.now_ns if older else DAY0_NS
        policy = CutsToOrder()
        rig = IngesterRig(
            self.rules, store=self.store, sequencer=sequencer, policy=policy, stream=stream, now_ns=now_ns
        )
        for one in older:
            one.is_superseded = True
        self.ingesters[name] = Ingester(rig, policy, stream.next_offset)
        self._sequencers[name] = sequencer

    def sequencer_of(self, name: str) -> SequencerId:
        return self._sequencers[name]

    def check(self) -> None:
        """What is read is what the log comes to, wherever that can be said."""
        for name, one in self.ingesters.items():
            is_ready = one.rig.core.applied_offset >= one.ready_at
            if is_ready and not self.lost.intersection(file.path for file in one.rig.core.state.files.values()):
                found, wanted = one.rig.read(), one.rig.expected()
                assert found == wanted, f"{name} reads {found}, the log comes to {wanted}"

    def one(self, name: str) -> Ingester:
        if name not in self.ingesters:
            raise WrongStep(f"nobody is called {name}: {name} has to claim a sequencer first")
        return self.ingesters[name]

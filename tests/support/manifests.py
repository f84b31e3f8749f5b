"""Manifests for tests: changes, files, and a history of commits in a DictStore."""

from collections.abc import Callable
from dataclasses import replace

from common.catalog.manifest import manifest
from common.catalog.manifest.change import AsOf, Change, Instance, StoredFile, StreamMark
from common.catalog.manifest.state import ManifestState
from common.catalog.partition_key import PartitionKey
from common.store.objects import run
from common.values.ids import Offset, SequencerId
from tests.support.dict_store import DictStore

SEQUENCER = SequencerId(3)
EMPTY = ManifestState(SEQUENCER)
ME = Instance("me", "127.0.0.1:8103", "127.0.0.1:8203")


def a_change(replay_offset: int = 0, **given_values: object) -> Change:
    return replace(
        Change(AsOf(Offset(replay_offset), stream=StreamMark("s"))),
        **given_values,  # type: ignore[arg-type]
    )


def a_file(number: int, day: int = 0, table: str = "cpu") -> StoredFile:
    return StoredFile(
        path=f"data/metrics/{table}/{number}.parquet",
        partition=PartitionKey("metrics", table, day),
        rows=number,
        size_bytes=1000 + number,
        time_ns_min=-(2**63),
        time_ns_max=2**63 - 1,
        first_offset=Offset(0),
        last_offset=Offset(number),
        checksum=2**64 - 1 - number,
        sort_key=("host", "a,b"),
    )


def claimed(store: DictStore, nonce: str = "c") -> ManifestState:
    state = run(manifest.load(SEQUENCER), store)
    return run(manifest.claim(state, Change(state.as_of, claim=ME), nonce), store)


def written(store: DictStore, commits: int, change: Callable[[int], Change] = a_change) -> list[ManifestState]:
    """A claim and so many commits; the state after each number, from 0."""
    states = [EMPTY, claimed(store)]
    for number in range(1, commits + 1):
        states.append(run(manifest.commit(states[-1], change(number), f"n{number}"), store))
    return states


def values(state: ManifestState) -> dict[str, object]:
    """All that a state says, comparable."""
    return {**state.as_change().to_json(), "numbers": (state.number, state.epoch), "sequencer": state.sequencer}

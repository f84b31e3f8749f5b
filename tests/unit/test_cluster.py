"""cluster.json: written once, agreed on by all, and a process that does not fit it refuses with what to do."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from common.catalog import cluster, paths
from common.catalog.cluster import Cluster
from common.store.cloud import CloudStore
from common.store.objects import Get, MakeDurable, ObjectStore, PutIfAbsent, Steps, StoreCall, perform, run
from common.values.errors import DataCorrupt, Misconfigured, PenstockError, Unavailable


def store() -> ObjectStore:
    return CloudStore("memory:")


class Founder:
    """One process that founds or joins, a store call at a time."""

    def __init__(self, sequencers: int) -> None:
        self._steps: Steps[Cluster] = cluster.found_or_join(sequencers, "here")
        self.call: StoreCall | None = next(self._steps)
        self.joined: Cluster | None = None

    def go_on(self, on: ObjectStore) -> None:
        assert self.call is not None
        try:
            self.call = self._answer(self.call, on)
        except StopIteration as stop:
            self.call, self.joined = None, stop.value

    def _answer(self, call: StoreCall, on: ObjectStore) -> StoreCall:
        try:
            answer = perform(call, on)
        except PenstockError as error:
            return self._steps.throw(error)
        return self._steps.send(answer)


def interleavings(left: int, right: int) -> list[str]:
    """Every order of `left` steps of a and `right` steps of b, as words."""
    if not left or not right:
        return ["a" * left + "b" * right]
    return ["a" + rest for rest in interleavings(left - 1, right)] + [
        "b" + rest for rest in interleavings(left, right - 1)
    ]


@pytest.mark.parametrize("order", interleavings(4, 4))
def test_two_founders_end_in_one_cluster(order: str) -> None:
    """In any order of their store calls, both have the one cluster that the store holds."""
    on = store()
    founders = {"a": Founder(4), "b": Founder(4)}
    for name in order + "aaaabbbb":
        if founders[name].call:
            founders[name].go_on(on)
    stored = cluster.parse(on.get(paths.CLUSTER), "here")
    assert founders["a"].joined == founders["b"].joined == stored


def test_a_founder_whose_answer_was_lost_finds_its_own_cluster() -> None:
    """After Unavailable with an unknown outcome, doing it again joins what was written."""
    on = store()
    steps = cluster.found_or_join(4, "here")
    with pytest.raises(PenstockError) as missing:
        perform(next(steps), on)
    put = steps.throw(missing.value)
    assert isinstance(put, PutIfAbsent)
    perform(put, on)
    with pytest.raises(Unavailable):
        steps.throw(Unavailable("answer lost", written="unknown"))
    assert run(cluster.found_or_join(4, "here"), on).to_json() == put.data


def test_a_process_with_another_number_of_sequencers_is_refused() -> None:
    """N is part of where every series lives, so that the message says how to start, or how to change it."""
    on = store()
    run(cluster.found_or_join(4, "here"), on)
    with pytest.raises(Misconfigured, match="made for 4 sequencers, asked for 8: start with --sequencers 4") as refused:
        run(cluster.found_or_join(8, "here"), on)
    assert (refused.value.sequencers, refused.value.asked) == (4, 8)


def test_a_cluster_reads_as_it_was_written() -> None:
    """parse is the inverse of to_json."""
    made = Cluster("5dd6a8a6-7e5c-4f83-8ac7-1e1c1c4b9a36", 12)
    assert cluster.parse(made.to_json(), "here") == made


def changed(**values: Any) -> bytes:
    return json.dumps(json.loads(Cluster("id", 4).to_json()) | values).encode()


def without(key: str) -> bytes:
    values = json.loads(Cluster("id", 4).to_json())
    del values[key]
    return json.dumps(values).encode()


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe", b"[]", b"3", b"{}", without("format"), without("cluster_id"), without("sequencers"),
     changed(sequencers="4"), changed(sequencers=0), changed(sequencers=True), changed(cluster_id=7)],
)  # fmt: skip
def test_a_damaged_cluster_file_is_corrupt(data: bytes) -> None:
    """Nothing is guessed: the message says where, and that a copy restores it."""
    on = store()
    on.put(paths.CLUSTER, data)
    with pytest.raises(DataCorrupt, match=r"^here/cluster\.json: not a cluster\.json of penstock .* restore it"):
        run(cluster.found_or_join(4, "here"), on)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (json.dumps({"format": 2}).encode(), "format 2, this build reads 1; use the release that made it"),
        (changed(series_hash="md5"), "series hash 'md5' is unknown"),
    ],
)
def test_a_cluster_of_another_release_is_refused(data: bytes, message: str) -> None:
    """A newer format is no damage, with any content."""
    with pytest.raises(Misconfigured, match=message):
        cluster.parse(data, "here")


def test_no_founder_leaves_a_half_written_cluster() -> None:
    """A store that is away at any call leaves either nothing or a whole cluster.json."""
    for away in range(3):
        on = store()
        with pytest.raises(Unavailable):
            _run_until(cluster.found_or_join(4, "here"), on, lambda at, away=away: at == away)
        assert run(cluster.found_or_join(4, "here"), on).sequencers == 4


def _run_until(steps: Steps[Cluster], on: ObjectStore, away: Callable[[int], bool]) -> None:
    call = next(steps)
    for at in range(9):
        try:
            if away(at):
                raise Unavailable("the store is away")
            answer = perform(call, on)
        except PenstockError as error:
            call = steps.throw(error)
        else:
            call = steps.send(answer)


def test_a_cluster_is_joined_once_its_file_is_durable() -> None:
    """Its founder may have been killed before it was; a power cut would let another process found a second cluster."""
    on, calls = store(), []
    run(cluster.found_or_join(4, "here"), on)
    joiner = Founder(4)
    while joiner.call is not None:
        calls.append(joiner.call)
        joiner.go_on(on)
    assert calls == [Get(paths.CLUSTER), MakeDurable(paths.CLUSTER)]

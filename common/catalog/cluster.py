"""cluster.json at the store's root: what every process of one cluster must agree on.

Written once, by put-if-absent; a process with other settings is refused, and the message says what to change. The data
folder of each process has a copy, so that it can start while the store is away.
"""

import json
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass

from common.catalog import paths
from common.store.objects import AlreadyExists, Get, MakeDurable, NotFound, PutIfAbsent, Steps
from common.values.errors import DataCorrupt, Misconfigured
from common.values.shown import counted

FORMAT = 1
SERIES_HASH = "xxh3-64 of length-prefixed namespace, table, sorted tags; modulo sequencers"


@dataclass(frozen=True, slots=True)
class Cluster:
    """cluster_id: a UUID. sequencers: N. series_hash: the partition function's name. format: of the store's layout."""

    cluster_id: str
    sequencers: int
    series_hash: str = SERIES_HASH
    format: int = FORMAT

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), indent=2).encode() + b"\n"


def parse(data: bytes, where: str) -> Cluster:
    """Raises DataCorrupt for what is not a cluster.json, Misconfigured for one of a newer format."""
    try:
        values = json.loads(data)
        if values["format"] != FORMAT:
            raise Misconfigured(
                f"{where}: format {values['format']}, this build reads {FORMAT}; use the release that made it"
            )
        cluster = Cluster(values["cluster_id"], values["sequencers"], values["series_hash"])
        if not isinstance(cluster.cluster_id, str) or type(cluster.sequencers) is not int or cluster.sequencers < 1:
            raise ValueError(f"cluster_id {cluster.cluster_id!r}, sequencers {cluster.sequencers!r}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataCorrupt(f"{where}: not a cluster.json of penstock ({error!r}); restore it from a copy") from None
    if cluster.series_hash != SERIES_HASH:
        raise Misconfigured(
            f"{where}: series hash {cluster.series_hash!r} is unknown to this build; use the release that made it"
        )
    return cluster


def found_or_join(sequencers: int, where: str) -> Steps[Cluster]:
    """The cluster at this store, made with `sequencers` where there is none yet.

    Raises Misconfigured when it was made with another number.
    """
    try:
        data = yield Get(paths.CLUSTER)
    except NotFound:
        with suppress(AlreadyExists):  # another process was faster: its file decides
            yield PutIfAbsent(paths.CLUSTER, Cluster(str(uuid.uuid4()), sequencers).to_json())
        data = yield Get(paths.CLUSTER)
    # All that is written from here on, and the copy in the data folder, belongs to this cluster id.
    yield MakeDurable(paths.CLUSTER)
    cluster = parse(data, f"{where}/{paths.CLUSTER}")
    if cluster.sequencers != sequencers:
        raise Misconfigured(
            f"{where} was made for {counted(cluster.sequencers, 'sequencer')}, asked for {sequencers}: start with "
            f"--sequencers {cluster.sequencers}, or make a new store with another "
            "--data or --store",
            sequencers=cluster.sequencers,
            asked=sequencers,
        )
    return cluster

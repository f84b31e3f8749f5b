"""A stream of Redis that lost its tail, or was made again, goes on as docs/operations.md says, by redis-cli."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from common.catalog.manifest import manifest
from common.store.objects import run
from common.values.ids import SequencerId
from tests.faults.test_lost_log import ROWS, SEQUENCERS, buffered, store, values, write
from tests.support.process_cluster import CALM, ProcessCluster
from tests.support.redis_buffer import made, own_server
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until

GOES_ON_AT = 1_000_000_001


def restored(server: RedisServer, folder: Path) -> None:
    """To what was copied before anything was appended."""
    server.kill()
    shutil.rmtree(folder / "appendonlydir")
    (folder / "copy").rename(folder / "appendonlydir")
    server.start()


def emptied(server: RedisServer, folder: Path) -> None:
    with server.client() as client:
        client.flushall()
    made(server.url, SEQUENCERS)


@pytest.mark.parametrize("lose", [restored, emptied])
def test_a_stream_that_is_shorter_than_what_was_persisted_goes_on_above_it(
    tmp_path: Path, lose: Callable[[RedisServer, Path], None]
) -> None:
    """The router ends before it writes into it; after the steps nothing persisted is lost, and the gap is on record."""
    folder = tmp_path / "redis"
    with own_server(folder) as server:
        made(server.url, SEQUENCERS)
        shutil.copytree(folder / "appendonlydir", folder / "copy")
        cluster = ProcessCluster(tmp_path, SEQUENCERS, CALM, write_buffer=server.url)
        with cluster.held():
            cluster.start(*cluster.names)
            assert write(cluster, 0)[0] == 204
            wait_until(lambda: buffered(cluster), holds=lambda rows: rows == ROWS, what="the rows are applied")
            cluster.stop()
            lose(server, folder)
            cluster.spawn("router")
            assert cluster.wait("router", 30) == 4
            assert "docs/operations.md, A damaged or lost log" in cluster.log("router")

            with server.client() as client:
                for number in range(SEQUENCERS):
                    followed = run(manifest.load(SequencerId(number)), store(cluster)).as_of.stream.identity
                    for command in (
                        f"XTRIM {{penstock:{number}}}:records MAXLEN 0",
                        f"XTRIM {{penstock:{number}}}:batches MAXLEN 0",
                        f"HSET {{penstock:{number}}}:state identity {followed} next {GOES_ON_AT}",
                    ):
                        client.execute_command(*command.split())

            cluster.environment = {"PENSTOCK_ACCEPT_LOSS": "true"}
            cluster.start(*cluster.names)
            cluster.environment = {}
            assert write(cluster, ROWS)[0] == 204
            wait_until(lambda: buffered(cluster), holds=lambda rows: rows == ROWS, what="the rows are applied")
            assert values(cluster) == set(range(2 * ROWS))
            cluster.stop()
            states = [run(manifest.load(SequencerId(number)), store(cluster)) for number in range(SEQUENCERS)]
            assert [state.replay_offset for state in states] == [GOES_ON_AT + 1] * SEQUENCERS
            assert [len(state.gaps) for state in states] == [1] * SEQUENCERS
            assert sum(state.accounts.stored for state in states) == 2 * ROWS

"""`penstock status`: three sources, any of which may be missing."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from click.testing import CliRunner

from common.catalog.manifest import manifest
from common.catalog.manifest.change import Accounts, AsOf, Change, Instance, StreamMark
from common.catalog.manifest.state import ManifestState
from common.catalog.paths import manifest_record
from common.startup import join_cluster
from common.store.objects import run
from common.store.opening import open_store
from common.values.config import ClusterConfig
from common.values.errors import DataCorrupt, Unavailable
from common.values.ids import Epoch, ManifestNumber, Offset, SequencerId
from penstock.cli import cli
from penstock.cluster.status import SequencerStatus, gather, merge, table, to_json, waits
from tests.support.ports import free_ports
from writebuffer.connect import connect
from writebuffer.contract import Offsets

ANSWER = {
    "sequencer": 1,
    "epoch": 3,
    "state": "live",
    "applied_offset": 40,
    "persisted_offset": 10,
    "next_offset": 44,
    "rows_buffered": 1234,
    "accounts": {"stored": 10, "overwritten": 0, "duplicate": 7, "dead": 0},
    "files": 0,
}


def state(**changes: Any) -> ManifestState:
    return ManifestState(SequencerId(1), epoch=Epoch(3), as_of=AsOf(Offset(10), **changes))


def test_a_running_ingester_says_what_only_it_knows() -> None:
    """Log, manifest and ingester each fill their columns; lag is what the log holds above applied."""
    assert merge(state(), Offsets(Offset(5), Offset(45)), ANSWER) == SequencerStatus(
        sequencer=1,
        state="live",
        epoch=3,
        first=5,
        persisted=10,
        applied=40,
        next=45,
        lag=5,
        rows_buffered=1234,
        rows_duplicate=7,
        files=0,
        ready_in_s=None,
    )


def test_one_that_replays_says_how_long_it_will_take() -> None:
    """Below the table; as soon as that can be told."""
    offsets = Offsets(Offset(5), Offset(45))
    replaying = merge(state(), offsets, ANSWER | {"state": "replaying", "ready_in_s": 1234.4})
    unknown = merge(state(), offsets, ANSWER | {"state": "replaying", "ready_in_s": None})
    assert waits([replaying, unknown, merge(state(), offsets, ANSWER)]) == [
        "sequencer 1 replays for about 1,234 s more before it answers queries",
        "sequencer 1 replays before it answers queries",
    ]
    assert "ready in s" not in table([replaying])


def test_an_ingester_that_does_not_answer_is_down_and_the_manifest_still_speaks() -> None:
    """Persisted, files and duplicates up to there come from the manifest, first and next from the log, no more."""
    status = merge(state(accounts=Accounts(stored=9, duplicate=3)), Offsets(Offset(5), Offset(45)), None)
    assert (status.state, status.persisted, status.first, status.next) == ("down", 10, 5, 45)
    assert status.rows_duplicate == 3
    assert (status.applied, status.lag, status.rows_buffered) == (None, None, None)


def test_without_the_buffer_the_ingester_gives_the_next_offset() -> None:
    """A buffer that is away hides the first offset only, as long as the ingester answers."""
    status = merge(state(), None, ANSWER)
    assert (status.first, status.next, status.lag) == (None, 44, 4)


def test_an_ingester_that_waits_for_the_buffer_does_not_know_its_end() -> None:
    """Next and lag are unknown as long as the buffer is away: a lag of 0 would say that all is well."""
    status = merge(state(), None, {**ANSWER, "state": "waiting"})
    assert (status.state, status.applied, status.next, status.lag) == ("waiting", 40, None, None)


def test_an_answer_of_another_sequencer_is_none() -> None:
    """A port that now belongs to another ingester must not be read as this one's state."""
    assert merge(state(), None, {**ANSWER, "sequencer": 2}).state == "down"


def test_the_table_is_aligned_and_json_has_nulls() -> None:
    """Numbers are under their heading to the right, the unknown is `-` for people and null for scripts."""
    statuses = [merge(state(), Offsets(Offset(5), Offset(1_000_000)), None), merge(state(), None, ANSWER)]
    lines = table(statuses).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[0].split("  ")[0] == "sequencer"
    assert lines[1].split() == ["1", "down", "3", "5", "10", "-", "1000000", "-", "-", "0", "0"]
    assert [status["applied"] for status in json.loads(to_json(statuses))] == [None, 40]


def test_gathering_asks_the_address_in_the_manifest() -> None:
    """The ingester is found by the address its claim names; one that never ran is down, and nothing raises."""
    store = open_store("memory:")
    with ingester_http(json.dumps({**ANSWER, "sequencer": 0}).encode()) as address:
        claim_as(store, SequencerId(0), address)
        claim_as(store, SequencerId(1), f"127.0.0.1:{free_ports(1)[0]}")
        statuses = gather(store, 3, AwayBackend(), _unexpected)
    assert [(status.state, status.epoch) for status in statuses] == [("live", 1), ("down", 1), ("down", 0)]


def test_an_answer_that_is_no_json_is_no_answer() -> None:
    """Another program that listens on the port does not break the command."""
    store = open_store("memory:")
    with ingester_http(b"<html>") as address:
        claim_as(store, SequencerId(0), address)
        assert gather(store, 1, AwayBackend(), _unexpected)[0].state == "down"


def test_offsets_come_from_the_buffer() -> None:
    """First and next are the buffer's own."""
    backend = connect("memory:")
    backend.create(1)
    [status] = gather(open_store("memory:"), 1, backend, _unexpected)
    assert (status.first, status.next) == (0, 0)


def test_a_corrupt_manifest_hides_no_other_sequencer(tmp_path: Path) -> None:
    """Its line says `corrupt`, the others are as usual, and the error follows with exit code 5."""
    store, _ = join_cluster(ClusterConfig(data=str(tmp_path), sequencers=2), 0)
    for sequencer in range(2):
        claim_as(store, SequencerId(sequencer), "")
    [damaged] = (tmp_path / "store" / manifest_record(SequencerId(0), ManifestNumber(1))).parent.iterdir()
    damaged.write_bytes(damaged.read_bytes().replace(b"test", b"tast"))
    result = CliRunner().invoke(cli, ["status", "--data", str(tmp_path), "--json"])
    assert result.exit_code == 5, result.output
    assert [(one["sequencer"], one["state"], one["epoch"]) for one in json.loads(result.stdout)] == [
        (0, "corrupt", None),
        (1, "down", 1),
    ]
    where = manifest_record(SequencerId(0), ManifestNumber(1))
    assert result.stderr.startswith(f"penstock: error: {where} does not match its checksum")
    assert "corrupt  " in CliRunner().invoke(cli, ["status", "--data", str(tmp_path)]).stdout


def test_a_buffer_that_was_replaced_makes_no_sequencer_live(tmp_path: Path) -> None:
    """Another stream, or one that ends below what was persisted, is `forked`, though the ingester still says live."""
    store, _ = join_cluster(ClusterConfig(data=str(tmp_path), sequencers=3), 0)
    backend = connect(f"file://{tmp_path}/log")
    backend.create(3)
    reader = backend.open_reader()
    identities = [reader.identity(SequencerId(number)) for number in range(3)]
    reader.close()
    with (
        ingester_http(json.dumps({**ANSWER, "sequencer": 0}).encode()) as first,
        ingester_http(json.dumps({**ANSWER, "sequencer": 1}).encode()) as second,
        ingester_http(json.dumps({**ANSWER, "sequencer": 2}).encode()) as third,
    ):
        claim_as(store, SequencerId(0), first, AsOf(stream=StreamMark("another")))
        claim_as(store, SequencerId(1), second, AsOf(Offset(7), stream=StreamMark(identities[1])))
        claim_as(store, SequencerId(2), third, AsOf(stream=StreamMark(identities[2])))
        result = CliRunner().invoke(cli, ["status", "--data", str(tmp_path), "--json"])
    assert [one["state"] for one in json.loads(result.stdout)] == ["forked", "forked", "live"]
    assert result.exit_code == 4
    assert "sequencer 0: the write buffer has another stream: its identity is" in result.stderr
    assert "sequencer 1: the write buffer has another stream: its next offset is 0" in result.stderr


def test_what_keeps_a_cluster_from_being_live_is_said_once(tmp_path: Path) -> None:
    """A buffer that is not there concerns every sequencer; an ingester that waits says for what."""
    store, _ = join_cluster(ClusterConfig(data=str(tmp_path), sequencers=2), 0)
    waiting = {**ANSWER, "sequencer": 0, "state": "waiting", "waiting_for": "the store is away"}
    with ingester_http(json.dumps(waiting).encode()) as address:
        claim_as(store, SequencerId(0), address)
        result = CliRunner().invoke(cli, ["status", "--data", str(tmp_path), "--json"])
    assert [one["state"] for one in json.loads(result.stdout)] == ["waiting", "down"]
    assert result.stderr.count("\n") == 2
    assert f"file://{tmp_path}/log" in result.stderr
    assert "the store is away" in result.stderr
    assert result.exit_code == 1


def _unexpected(error: DataCorrupt) -> None:
    raise error


class AwayBackend:
    """A buffer that cannot be reached."""

    url = "away:"

    def create(self, sequencers: int) -> None:
        raise Unavailable("away")

    def open_writer(self) -> Any:
        raise Unavailable("away")

    def open_reader(self) -> Any:
        raise Unavailable("away")


def claim_as(store: Any, sequencer: SequencerId, http_address: str, as_of: AsOf | None = None) -> None:
    known = ManifestState(sequencer)
    change = Change(as_of or known.as_of, claim=Instance("test", http_address, "127.0.0.1:1"))
    run(manifest.claim(known, change, "nonce"), store)


@contextmanager
def ingester_http(body: bytes) -> Iterator[str]:
    """host:port of a server that answers every GET with `body`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""The ingester process: what is stacked on what.

    HTTP: health, figures             Flight: rows in memory
                    |                       |
                 status                 published view
                    `-> service (driver) -> core            decides
                         |-> write buffer: polled, and trimmed where that is its readers' part
                         `-> object store: files, manifest
Start: join the cluster, bind the ports, serve; then claim the sequencer, as soon as buffer and store are there, and
follow it. HTTP comes first, so that health can be asked meanwhile; Flight before the claim, which names its address.
Stop, at SIGTERM or SIGINT: the other way round, so that queries are answered to the end. A second signal ends the
process at once, which is always safe.
"""

import os
import random
import secrets
import socket
import sys
import threading
from contextlib import ExitStack

import pyarrow as pa

from common import logs
from common.catalog.cursors import Consumed
from common.catalog.joined_store import JoinedStore
from common.catalog.manifest.change import Instance
from common.garbage import collect_seldom
from common.http.listening import bind, resolve
from common.http.server import HttpServer
from common.logs import Logger
from common.signals import end_at_once, stop_signals
from common.startup import join_cluster
from common.values.addresses import Address, is_every_address
from common.values.clock import SystemClock
from common.values.config import ClusterConfig, IngesterConfig, RetentionConfig
from common.values.errors import Misconfigured
from common.values.ids import SequencerId
from ingester.core.core import IngesterCore
from ingester.core.lifecycle import Rules
from ingester.following.claim import Claimed, claim_sequencer
from ingester.following.suspects import Suspects
from ingester.service import SMALL_JOBS_PER_JOB, IngesterService
from ingester.serving.flight import QueryServer
from ingester.serving.http import Status, make_app
from ingester.serving.published import Published
from writebuffer.connect import connect
from writebuffer.contract import Reader, Trimmable
from writebuffer.trimming import Trimmer

HTTP_SHUTDOWN_S = 2.0


def run(cluster: ClusterConfig, config: IngesterConfig, retention: RetentionConfig, sequencer: SequencerId) -> int:
    """Follow `sequencer` until SIGTERM or SIGINT; 0 after an ordered end.

    Raises Misconfigured, Forked, OffsetTrimmed, Fenced or DataCorrupt, with what to do.
    """
    log = logs.configure(f"ingester-{sequencer}")
    connect(cluster.write_buffer_url)  # first: a wrong URL makes nothing in the store
    store, _ = join_cluster(cluster, SystemClock().now_ns(), log)
    sock = bind(config.listen_host, _port(config.http_port, sequencer), "http_port", config.host_setting)
    collect_seldom()
    Ingester(cluster, config, retention, sequencer, store, log).serve(sock)
    return 0


class Ingester:
    """One ingester, wired."""

    def __init__(
        self,
        cluster: ClusterConfig,
        config: IngesterConfig,
        retention: RetentionConfig,
        sequencer: SequencerId,
        store: JoinedStore,
        log: Logger,
    ) -> None:
        self._cluster = cluster
        self._config = config
        self._retention = retention
        self._sequencer = sequencer
        self._store = store
        self._log = log
        self._clock = SystemClock()
        self._published = Published(sequencer)
        self._status = Status(sequencer, self._published, store)
        self._stopped = threading.Event()

    def serve(self, sock: socket.socket) -> None:
        """Serve on `sock` until a signal; raises what `run` says. Runs in the main thread."""
        with stop_signals(self._stop, self._stop_at_once), ExitStack() as at_end:
            reader = at_end.enter_context(ExitStack())  # closed last: queries ask it for its next offset
            http = HttpServer(make_app(self._status, self._log), sock, shutdown_timeout_s=HTTP_SHUTDOWN_S)
            http.start_thread()
            at_end.callback(http.stop)
            flight = self._flight_server()
            at_end.callback(flight.shutdown)
            at_end.callback(self._published.end)
            claimant = _instance(self._config, http.port, flight.port)
            self._log.info("listening", http=claimant.http_address, flight=claimant.flight_address, pid=os.getpid())
            claimed = self._claim(claimant)
            if claimed is not None:
                reader.callback(claimed.reader.close)
                self._follow(claimed)
            self._log.info("stopped")

    def _stop(self, number: int) -> None:
        """Ask for the ordered end. Runs within a signal."""
        self._stopped.set()
        self._status.stopping = True
        if self._status.service is not None:
            self._status.service.stop()

    def _stop_at_once(self, number: int) -> None:
        """A second signal: nobody waits any longer."""
        if self._status.service is not None:
            os.write(sys.stderr.fileno(), self._status.service.left_behind.encode())
        end_at_once(number)

    def _claim(self, claimant: Instance) -> Claimed | None:
        """None where a stop was asked for before buffer and store were there."""
        return claim_sequencer(
            self._cluster, self._store, self._sequencer, claimant, self._config.accept_loss, self._stopped, self._log
        )

    def _follow(self, claimed: Claimed) -> None:
        """Until a stop. The sequencer is trimmed meanwhile, where that is its readers' part."""
        with ExitStack() as at_end:
            if isinstance(claimed.reader, Trimmable):
                trimmer = self._trimmer(claimed.reader, claimed.reader)
                at_end.callback(trimmer.stop)
                trimmer.start()
            self._service(claimed).run()

    def _trimmer(self, reader: Reader, trimmable: Trimmable) -> Trimmer:
        consumed = Consumed(self._store).below
        return Trimmer(trimmable, reader, [self._sequencer], consumed, self._retention, self._clock, self._log)

    def _service(self, claimed: Claimed) -> IngesterService:
        state, config = claimed.state, self._config
        rng = random.Random(secrets.randbits(128))
        rules, jobs_max = Rules.of(config), 2 * config.persist_workers
        core = IngesterCore(state, rules, config.file_bytes_max, jobs_max, rng, small_jobs_per_job=SMALL_JOBS_PER_JOB)
        newest = lambda: claimed.reader.offsets(state.sequencer).next_offset
        suspects = Suspects(self._cluster.data_folder / f"ingester-{state.sequencer}.suspects.json")
        service = IngesterService(
            core, claimed.reader, self._store, self._published, config, self._clock, self._log, suspects
        )
        self._published.begin(state.epoch, core.view, claimed.next_offset, newest, service.poller.hurry)
        self._status.service = service
        self._log.info(
            "claimed",
            epoch=state.epoch,
            persisted_offset=state.replay_offset,
            next_offset=claimed.next_offset,
            files=len(state.files),
            manifest_number=state.number,
        )
        if self._stopped.is_set():  # the signal came before there was a service to stop
            service.stop()
        return service

    def _flight_server(self) -> QueryServer:
        config = self._config
        host, port = config.listen_host, _port(config.flight_port, self._sequencer)
        if port:
            bind(host, port, "flight_port", config.host_setting).close()  # for its message: Flight's names no setting
        address = Address(resolve(host, config.host_setting).host, port)  # Flight binds all that a name means, HTTP one
        try:
            return QueryServer(self._published, self._clock, address)
        except (OSError, pa.ArrowException) as error:
            raise Misconfigured(
                f"Flight cannot listen on {address}: {error}. Correct {config.host_setting} or flight_port, which "
                "give the address"
            ) from None


def _port(first: int, sequencer: SequencerId) -> int:
    return first + sequencer if first else 0


def _instance(config: IngesterConfig, http_port: int, flight_port: int) -> Instance:
    host = config.advertise_host or config.listen_host
    if is_every_address(host):
        host = socket.gethostname()
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    return Instance(name, str(Address(host, http_port)), str(Address(host, flight_port)))

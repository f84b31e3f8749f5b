"""The router process: what is stacked on what.

    HTTP app -> service (driver) -> core            decides
                    |-> workers -> batch parser     processes that parse, one for each slot of the core
                    |-> performer -> schema store -> object store
                    `-> metered writer -> write buffer
Start: start the workers, join the cluster, bind the port, serve; the write buffer may come later, until then /ready
says what is missing.
Stop, at SIGTERM or SIGINT: accept no more connections and writes, finish those in flight, close. A second signal
ends the process at once, which is always safe: nothing is acknowledged before it is durable.
"""

import asyncio
import os
import socket
import threading
import uuid
from collections.abc import Generator
from contextlib import closing, contextmanager
from importlib.metadata import version

from common import logs
from common.catalog.cluster import Cluster
from common.catalog.cursors import Consumed
from common.catalog.joined_store import JoinedStore
from common.catalog.schema_store import SchemaStore, namespaces
from common.catalog.table_limit import TableLimit
from common.garbage import collect_seldom
from common.http.intake import SURPLUS, HttpLimits
from common.http.listening import bind
from common.http.open_files import connections_possible
from common.http.server import HttpServer, new_event_loop
from common.logs import Logger
from common.retrying import keep_trying
from common.signals import stop_signals
from common.startup import join_cluster
from common.values.addresses import Proxies
from common.values.clock import SystemClock
from common.values.config import ClusterConfig, RetentionConfig, RouterConfig
from common.values.errors import PenstockError
from router.api.http import RouterHttp
from router.api.status import About
from router.core.admission import Admission
from router.core.core import RouterCore
from router.core.rates import ClientRates
from router.metrics import MeteredWriter, RouterMetrics
from router.opened import Opened
from router.parsing.time_bounds import TimeLimits
from router.performer import Performer
from router.service import RouterService, Tools
from router.workers.workers import Workers
from writebuffer.connect import connect
from writebuffer.contract import Backend, Durable, Reader, Trimmable, Writer
from writebuffer.own_buffer import followed_streams, open_own_writer
from writebuffer.trimming import Trimmer, limits_not_kept


def run(cluster: ClusterConfig, config: RouterConfig, retention: RetentionConfig) -> int:
    """Run a router until a signal stops it; returns 0.

    Raises Misconfigured, HeldByAnother, DataCorrupt (with the reason), Unavailable when the store has never been
    reached, and what halts a router (core/core.py): Fenced, Forked, DataCorrupt or WriterDied of the write buffer.
    """
    log = logs.configure("router")
    backend = connect(cluster.write_buffer_url)  # first: a wrong URL makes nothing in the store
    with Workers(config.workers, cluster.sequencers, log) as workers:
        store, joined = join_cluster(cluster, SystemClock().now_ns(), log)
        with closing(bind(config.listen_host, config.port, "port", config.host_setting)) as sock:
            collect_seldom()
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(Router(config, retention, joined, store, backend, workers, log).serve(sock))
    return 0


class Router:
    """One router, wired."""

    def __init__(
        self,
        config: RouterConfig,
        retention: RetentionConfig,
        cluster: Cluster,
        store: JoinedStore,
        backend: Backend,
        workers: Workers,
        log: Logger,
    ) -> None:
        self._config = config
        self._retention = retention
        self._cluster = cluster
        self._store = store
        self._backend = backend
        self._workers = workers
        self._log = log
        self._clock = SystemClock()
        self._admission = Admission(config.in_flight_bytes_max)
        self._metrics = RouterMetrics(self._admission)
        self._stopped = threading.Event()
        self._opened = Opened()
        """The writer, the reader that the trimmer asks, and the trimmer."""

    async def serve(self, sock: socket.socket) -> None:
        """Serve on `sock` until a signal; raises what `run` says. Runs in the main thread."""
        service = self._service()
        server = HttpServer(
            self._http(service).app,
            sock,
            shutdown_timeout_s=self._config.shutdown_timeout_s,
            limits=_http_limits(self._config, self._log),
        )
        self._metrics.watch_connections(server.shared)
        serving = asyncio.create_task(server.serve())
        working = asyncio.create_task(self._work(service))
        with _signalled() as signalled:
            self._log.info("listening", http=str(server.address), pid=os.getpid())
            await asyncio.wait({serving, working, signalled}, return_when=asyncio.FIRST_COMPLETED)
            self._stopped.set()
            self._log.info("stopping")
            server.stop()
            await self._finish_in_flight(service)
            await serving
            await asyncio.to_thread(self._opened.close)
            service.close()
            self._log.info("stopped")
        if working.done():
            working.result()
        working.cancel()

    async def _work(self, service: RouterService) -> None:
        """Accept writes as soon as the buffer is open. Ends at a stop, or by raising why the router cannot continue."""
        writer = await self._open_writer(service)
        if writer is None:
            return
        service.open(MeteredWriter(writer, self._metrics, self._clock))
        durability = writer.durability() if isinstance(writer, Durable) else "none: it is lost with this process"
        self._log.info("ready", write_buffer=self._backend.url, durability=durability)
        if not_kept := limits_not_kept(self._backend.powers, self._retention):
            self._log.warning(not_kept, write_buffer=self._backend.url)
        trimming = asyncio.create_task(self._start_trimming(writer)) if isinstance(writer, Trimmable) else None
        try:
            await service.halted
        finally:
            if trimming is not None:
                trimming.cancel()

    async def _open_writer(self, service: RouterService) -> Writer | None:
        """Try until the buffer is there; None after a stop. Raises every error that another try cannot cure."""

        def on_failure(error: PenstockError, pause_s: float) -> None:
            service.waiting_for = error.message
            self._log.warning("write buffer is away", reason=error.message, retry_in_s=pause_s)

        return await asyncio.to_thread(keep_trying, self._create_and_open, self._stopped, on_failure)

    def _create_and_open(self) -> Writer | None:
        """None after a stop."""
        sequencers = self._cluster.sequencers
        writer = open_own_writer(self._backend, sequencers, followed_streams(self._store, sequencers))
        # A close flushes what it can; a flush before it would only wait twice for what hangs.
        return writer if self._opened.keep(writer.close) else None

    def _open_reader(self) -> Reader | None:
        """None after a stop."""
        reader = self._backend.open_reader()
        return reader if self._opened.keep(reader.close) else None

    async def _start_trimming(self, writer: Trimmable) -> None:
        """Try until it works: an error that keeps old records from being trimmed does not stop new ones."""

        def on_failure(error: PenstockError, pause_s: float) -> None:
            self._log.warning("not trimming yet", reason=error.message, retry_in_s=pause_s)

        reader = await asyncio.to_thread(
            keep_trying, self._open_reader, self._stopped, on_failure, retried=PenstockError
        )
        if reader is None:
            return
        trimmer = Trimmer(
            writer, reader, reader.sequencers(), Consumed(self._store).below, self._retention, self._clock, self._log
        )
        if self._opened.keep(trimmer.stop):
            trimmer.start()

    async def _finish_in_flight(self, service: RouterService) -> None:
        try:
            async with asyncio.timeout(self._config.shutdown_timeout_s):
                await service.stop()
        except TimeoutError:
            self._log.warning("stopped before every write was stored", **service.figures())
            service.give_up()

    def _service(self) -> RouterService:
        core = RouterCore(
            uuid.uuid4().bytes,
            self._admission,
            self._config.batch_bytes_max,
            parse_slots=self._workers.slots,
            time_limits=TimeLimits.of_seconds(self._config.row_age_max_s, self._config.row_ahead_max_s),
        )
        limit = TableLimit(self._config.tables_max, self._clock)
        schemas = SchemaStore(nonce=lambda: uuid.uuid4().hex, limit=limit)
        tools = Tools(
            clock=self._clock,
            store=self._store,
            parsers=self._workers,
            performer=Performer(schemas, self._log),
            metrics=self._metrics,
            log=self._log,
        )
        return RouterService(core, tools, self._config.append_timeout_s)

    def _http(self, service: RouterService) -> RouterHttp:
        about = About(
            version=version("penstock"),
            cluster_id=self._cluster.cluster_id,
            sequencers=self._cluster.sequencers,
            write_buffer=self._backend.url,
            store=self._store.url,
            started_ns=self._clock.now_ns(),
        )
        return RouterHttp(
            service,
            self._admission,
            self._metrics,
            about,
            self._clock,
            self._log,
            body_bytes_max=self._config.body_bytes_max,
            rates=ClientRates(self._config.client_requests_per_s, self._config.client_bytes_per_s),
            namespaces=lambda: namespaces(self._store),
            store_away=lambda: self._store.unusable,
        )


def _http_limits(config: RouterConfig, log: Logger) -> HttpLimits:
    wanted = int(config.connections_max * (1 + SURPLUS))
    possible = connections_possible(wanted)
    connections_max = max(1, int(possible / (1 + SURPLUS)))
    if possible < wanted:
        log.warning(
            "fewer connections than connections_max: raise this process's limit of open files (ulimit -Hn)",
            connections=connections_max,
            connections_max=config.connections_max,
        )
    else:
        connections_max = config.connections_max
    return HttpLimits(
        connections_max=connections_max,
        unread_bytes_max=config.in_flight_bytes_max,  # so that what may be in flight can also arrive at once
        proxies=Proxies.parse(config.trusted_proxies),
    )


@contextmanager
def _signalled() -> Generator["asyncio.Future[None]"]:
    """A future that the first signal to stop resolves; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    signalled: asyncio.Future[None] = loop.create_future()
    with stop_signals(lambda number: loop.call_soon_threadsafe(signalled.set_result, None)):
        yield signalled

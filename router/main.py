"""The router process: what is stacked on what.

    HTTP app -> service (driver) -> core            decides
                    |-> batch parser                one thread
                    |-> schema store -> object store
                    `-> metered writer -> write buffer
Start: join the cluster, bind the port, serve; the write buffer may come later, until then /ready says what is missing.
Stop, at SIGTERM or SIGINT: take no more connections and writes, finish those in flight, flush, close. A second signal
ends the process at once, which is always safe: nothing is acknowledged before it is durable.
"""

import asyncio
import os
import signal
import socket
import uuid
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version

from common import logs
from common.clock import SystemClock
from common.cluster import Cluster
from common.config import ClusterConfig, RetentionConfig, RouterConfig
from common.consumed import Consumed
from common.errors import PenstockError, Unavailable
from common.httpserver import HttpServer, bind, new_event_loop
from common.ids import SequencerId
from common.logs import Logger
from common.objectstore import ObjectStore
from common.startup import join_cluster
from router.admission import Admission
from router.batch import BatchParser
from router.core import RouterCore
from router.http import RouterHttp
from router.metrics import MeteredWriter, RouterMetrics
from router.schema_store import SchemaStore
from router.service import RouterService, Tools
from router.status import About
from writebuffer.connect import connect
from writebuffer.contract import Backend, Durable, Trimmable, Writer
from writebuffer.own_buffer import followed_streams, make_or_compare
from writebuffer.trimming import Trimmer

_OPEN_RETRY_S = 0.5
_OPEN_RETRY_MAX_S = 5.0


def run(cluster: ClusterConfig, config: RouterConfig, retention: RetentionConfig) -> int:
    """Run a router until a signal stops it; returns 0.

    Raises Misconfigured, HeldByAnother, DataCorrupt (with the reason), Unavailable when the store has never been
    reached, and what halts a router (router/core.py): Fenced, Forked, DataCorrupt or WriterDied of the write buffer.
    """
    log = logs.configure("router")
    backend = connect(cluster.write_buffer_url)  # first: a wrong URL makes nothing in the store
    store, joined = join_cluster(cluster, SystemClock().now_ns())
    sock = bind(config.host, config.port, "--port")
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(Router(config, retention, joined, store, backend, log).serve(sock))
    finally:
        sock.close()
    return 0


class Router:
    """One router, wired."""

    def __init__(
        self,
        config: RouterConfig,
        retention: RetentionConfig,
        cluster: Cluster,
        store: ObjectStore,
        backend: Backend,
        log: Logger,
    ) -> None:
        self._config = config
        self._retention = retention
        self._cluster = cluster
        self._store = store
        self._backend = backend
        self._log = log
        self._clock = SystemClock()
        self._admission = Admission(config.in_flight_bytes_max)
        self._metrics = RouterMetrics(self._admission)
        self._writer: Writer | None = None
        self._trimming = ExitStack()
        """What runs beside a writer that trims, and ends before it is closed."""

    async def serve(self, sock: socket.socket) -> None:
        """Serve on `sock` until a signal; raises what `run` says. Runs in the main thread."""
        service = self._service()
        server = HttpServer(self._http(service).app, sock, shutdown_timeout_s=self._config.shutdown_timeout_s)
        serving = asyncio.create_task(server.serve())
        working = asyncio.create_task(self._work(service))
        with _signalled() as signalled:
            self._log.info("listening", http=f"{server.host}:{server.port}", pid=os.getpid())
            await asyncio.wait({serving, working, signalled}, return_when=asyncio.FIRST_COMPLETED)
            self._log.info("stopping")
            server.stop()
            await self._finish_in_flight(service)
            await serving
            await asyncio.to_thread(self._close_writer)
            service.close()
            self._log.info("stopped")
        if working.done():
            working.result()
        working.cancel()

    async def _work(self, service: RouterService) -> None:
        """Take writes as soon as the buffer can be written; ends only by raising why it cannot go on."""
        writer = await self._open_writer(service)
        service.open(MeteredWriter(writer, self._metrics, self._clock))
        durability = writer.durability() if isinstance(writer, Durable) else "none: it is lost with this process"
        self._log.info("ready", write_buffer=self._backend.url, durability=durability)
        trimming = asyncio.create_task(self._start_trimming(writer)) if isinstance(writer, Trimmable) else None
        try:
            await service.halted
        finally:
            if trimming is not None:
                trimming.cancel()

    async def _open_writer(self, service: RouterService) -> Writer:
        """Try until the buffer is there; what a retry cannot cure is raised."""
        delay_s = _OPEN_RETRY_S
        while True:
            try:
                return await asyncio.to_thread(self._create_and_open)
            except Unavailable as error:
                service.waiting_for = error.message
                self._log.warning("write buffer unavailable", reason=error.message, retry_in_s=delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, _OPEN_RETRY_MAX_S)

    def _create_and_open(self) -> Writer:
        make_or_compare(self._backend, self._cluster.sequencers, self._followed_streams())
        self._writer = self._backend.open_writer()
        return self._writer

    def _followed_streams(self) -> dict[SequencerId, str] | None:
        try:
            return followed_streams(self._store, self._cluster.sequencers)
        except Unavailable as error:
            self._log.warning("not compared whether this write buffer is the cluster's", reason=error.message)
            return None

    async def _start_trimming(self, writer: Trimmable) -> None:
        """Tried until it works: whatever keeps the old records from being trimmed keeps no new one from being taken."""
        while True:
            try:
                reader = await asyncio.to_thread(self._backend.open_reader)
                break
            except PenstockError as error:
                self._log.warning("not trimming yet", reason=error.message, retry_in_s=_OPEN_RETRY_MAX_S)
            await asyncio.sleep(_OPEN_RETRY_MAX_S)
        self._trimming.callback(reader.close)
        trimmer = Trimmer(
            writer, reader, reader.sequencers(), Consumed(self._store).below, self._retention, self._clock, self._log
        )
        self._trimming.callback(trimmer.stop)
        trimmer.start()

    async def _finish_in_flight(self, service: RouterService) -> None:
        try:
            async with asyncio.timeout(self._config.shutdown_timeout_s):
                await service.stop()
        except TimeoutError:
            self._log.warning("stopped before every write was stored", **service.figures())
            service.give_up()

    def _close_writer(self) -> None:
        if self._writer is None:
            return
        self._trimming.close()
        try:
            self._writer.flush(self._config.shutdown_timeout_s)
        except PenstockError as error:
            self._log.warning("write buffer not flushed", reason=error.message)
        self._writer.close()

    def _service(self) -> RouterService:
        core = RouterCore(uuid.uuid4().bytes, self._admission, self._config.batch_bytes_max)
        tools = Tools(
            clock=self._clock,
            store=self._store,
            schemas=SchemaStore(nonce=lambda: uuid.uuid4().hex),
            parser=BatchParser(self._cluster.sequencers),
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
        )


@contextmanager
def _signalled() -> Generator["asyncio.Future[None]"]:
    """A future that the first SIGTERM or SIGINT resolves; a second signal ends the process at once."""
    loop = asyncio.get_running_loop()
    signalled: asyncio.Future[None] = loop.create_future()

    def on_signal(number: int) -> None:
        if signalled.done():
            os._exit(128 + number)
        signalled.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield signalled
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

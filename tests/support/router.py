"""A router's service and HTTP server in this process, on a free port, over the memory buffer and a memory store."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection, HTTPResponse

import structlog

from common.catalog.schema_store import SchemaStore, namespaces
from common.catalog.table_limit import TableLimit
from common.entry import Entry, decode
from common.http.intake import HttpLimits
from common.http.listening import bind
from common.http.server import DEFAULT_LIMITS, HttpServer
from common.store.cloud import CloudStore
from common.store.objects import ObjectStore
from common.values.clock import SystemClock
from common.values.config import RouterConfig
from router.api.http import RouterHttp
from router.api.status import About
from router.core.admission import Admission
from router.core.core import RouterCore
from router.core.rates import ClientRates
from router.metrics import MeteredWriter, RouterMetrics
from router.parsing.time_bounds import TimeLimits
from router.performer import Performer
from router.service import RouterService, Tools
from tests.support.parsers import ThreadParsers
from writebuffer.contract import Writer
from writebuffer.memory import MemoryBackend
from writebuffer.record import RecordHeaders


class RunningRouter:
    """Serves from the constructor to `close`."""

    def __init__(
        self,
        config: RouterConfig,
        *,
        sequencers: int = 4,
        store: ObjectStore | None = None,
        is_open: bool = True,
        wrap_writer: Callable[[Writer], Writer] = lambda writer: writer,
        limits: HttpLimits = DEFAULT_LIMITS,
    ) -> None:
        """is_open: False as while the write buffer is away. wrap_writer: between the router and the buffer's writer."""
        self.backend = MemoryBackend("memory:")
        self.backend.create(sequencers)
        self.admission = Admission(config.in_flight_bytes_max)
        self._config = config
        self._sequencers = sequencers
        self._store = store or CloudStore("memory:")
        self._is_open = is_open
        self._wrap_writer = wrap_writer
        self._limits = limits
        self._serving = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._sock = bind(config.listen_host, config.port, "port")
        self.port: int = self._sock.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread.start()
        self._serving.wait()

    def stop(self) -> None:
        """Begin to stop; `close` waits for the end."""
        self._server.stop()

    def close(self) -> None:
        self.stop()
        self._thread.join()

    def request(
        self, method: str, path: str, body: bytes | Iterator[bytes] = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[HTTPResponse, bytes]:
        """One request on a connection of its own; an iterator is sent chunked."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, dict(headers or {}), encode_chunked=not isinstance(body, bytes))
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def write(
        self, body: bytes | Iterator[bytes], query: str = "bucket=ns", headers: Mapping[str, str] | None = None
    ) -> tuple[HTTPResponse, bytes]:
        return self.request("POST", f"/api/v2/write?{query}", body, headers)

    def records(self, namespace: str | None = None) -> list[tuple[int, int, RecordHeaders, Entry]]:
        """Everything durable, or what is of one namespace: sequencer, offset, headers, entry."""
        reader = self.backend.open_reader()
        found = []
        for sequencer in reader.sequencers():
            with_offsets = reader.cursor(sequencer).poll(10_000, 100_000_000, 0).records
            found += [
                (int(sequencer), int(one.offset), one.record.headers, decode(one.record.payload))
                for one in with_offsets
                if namespace in (None, one.record.headers.namespace)
            ]
        return found

    def rows(self, namespace: str, table: str) -> list[dict[str, object]]:
        """Durable rows of one table, absent values left out, in order of time."""
        found = [
            {name: value for name, value in row.items() if value is not None}
            for *_, entry in self.records(namespace)
            if table in entry.tables
            for row in entry.tables[table].to_pylist()
        ]
        return sorted(found, key=lambda row: str(row["time"]))

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        clock = SystemClock()
        log = structlog.get_logger()
        metrics = RouterMetrics(self.admission)
        nonces = iter(range(10**9))
        schemas = SchemaStore(lambda: str(next(nonces)), TableLimit(self._config.tables_max, clock))
        parsers = ThreadParsers(self._sequencers, self._loop.call_soon_threadsafe)
        tools = Tools(clock, parsers, self._store, Performer(schemas, log), metrics, log)
        core = RouterCore(
            b"p" * 16,
            self.admission,
            self._config.batch_bytes_max,
            time_limits=TimeLimits.of_seconds(self._config.row_age_max_s, self._config.row_ahead_max_s),
        )
        service = RouterService(core, tools, self._config.append_timeout_s)
        about = About("9.9.9", "cluster", self._sequencers, self.backend.url, self._store.url, clock.now_ns())
        limits = self._config.body_bytes_max
        http = RouterHttp(
            service,
            self.admission,
            metrics,
            about,
            clock,
            log,
            body_bytes_max=limits,
            rates=ClientRates(self._config.client_requests_per_s, self._config.client_bytes_per_s),
            namespaces=lambda: namespaces(self._store),
        )
        service.halted.add_done_callback(lambda halted: halted.exception())  # a test looks at /ready
        if self._is_open:
            service.open(MeteredWriter(self._wrap_writer(self.backend.open_writer()), metrics, clock))
        self._server = HttpServer(http.app, self._sock, shutdown_timeout_s=5, limits=self._limits)
        metrics.watch_connections(self._server.shared)
        self._loop.call_soon(self._serving.set)
        await self._server.serve()
        await service.stop()
        service.close()
        parsers.close()

"""A router's service and HTTP server in this process, on a free port, over the memory buffer and a memory store."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPResponse

import structlog

from common.clock import SystemClock
from common.cloudstore import CloudStore
from common.config import RouterConfig
from common.entry import Entry, decode
from common.httpserver import HttpServer, bind
from common.objectstore import ObjectStore
from router.admission import Admission
from router.batch import BatchParser
from router.core import RouterCore
from router.http import RouterHttp
from router.metrics import MeteredWriter, RouterMetrics
from router.schema_store import SchemaStore
from router.service import RouterService, Tools
from router.status import About
from writebuffer.memory import MemoryBackend
from writebuffer.record import RecordHeaders


class RunningRouter:
    """Serves from the constructor to `close`. `is_open=False`: as while the write buffer is away."""

    def __init__(
        self, config: RouterConfig, *, sequencers: int = 4, store: ObjectStore | None = None, is_open: bool = True
    ) -> None:
        self.backend = MemoryBackend("memory:")
        self.backend.create(sequencers)
        self.admission = Admission(config.in_flight_bytes_max)
        self._config = config
        self._sequencers = sequencers
        self._store = store or CloudStore("memory:")
        self._is_open = is_open
        self._serving = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._sock = bind(config.host, config.port, "--port")
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

    def records(self) -> list[tuple[int, int, RecordHeaders, Entry]]:
        """Everything durable: sequencer, offset, headers, entry."""
        reader = self.backend.open_reader()
        found = []
        for sequencer in reader.sequencers():
            with_offsets = reader.reader(sequencer).poll(10_000, 100_000_000, 0).records
            found += [
                (int(sequencer), int(one.offset), one.record.headers, decode(one.record.payload))
                for one in with_offsets
            ]
        return found

    def rows(self, namespace: str, table: str) -> list[dict[str, object]]:
        """Durable rows of one table, absent values left out, in order of time."""
        found = [
            {name: value for name, value in row.items() if value is not None}
            for _, _, headers, entry in self.records()
            if headers.namespace == namespace and table in entry.tables
            for row in entry.tables[table].to_pylist()
        ]
        return sorted(found, key=lambda row: str(row["time"]))

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        clock = SystemClock()
        log = structlog.get_logger()
        metrics = RouterMetrics(self.admission)
        nonces = iter(range(10**9))
        tools = Tools(
            clock, self._store, SchemaStore(lambda: str(next(nonces))), BatchParser(self._sequencers), metrics, log
        )
        core = RouterCore(b"p" * 16, self.admission, self._config.batch_bytes_max)
        service = RouterService(core, tools, self._config.append_timeout_s)
        about = About("9.9.9", "cluster", self._sequencers, self.backend.url, self._store.url, clock.now_ns())
        limits = self._config.body_bytes_max
        http = RouterHttp(service, self.admission, metrics, about, clock, log, body_bytes_max=limits)
        service.halted.add_done_callback(lambda halted: halted.exception())  # a test looks at /ready
        if self._is_open:
            service.open(MeteredWriter(self.backend.open_writer(), metrics, clock))
        self._server = HttpServer(http.app, self._sock, shutdown_timeout_s=5)
        self._loop.call_soon(self._serving.set)
        await self._server.serve()
        await service.stop()
        service.close()

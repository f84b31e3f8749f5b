"""The ingester process: what is stacked on what.

HTTP first, so that health can be asked while the buffer or the store is away; then Flight, whose address the claim
names; then the claim; then the core and its driver. At the end in the other order: queries are answered to the last.
"""

import os
import random
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pyarrow as pa

from common.clock import Clock, SystemClock
from common.config import ClusterConfig, IngesterConfig, RetentionConfig
from common.consumed import Consumed
from common.errors import Misconfigured
from common.httpserver import HttpServer, bind
from common.ids import SequencerId
from common.logs import Logger, configure
from common.objectstore import ObjectStore
from common.startup import join_cluster
from ingester.core import IngesterCore
from ingester.http import Status, make_app
from ingester.lifecycle import Rules
from ingester.persist.manifest_state import Instance
from ingester.published import Published
from ingester.query import QueryServer
from ingester.service import IngesterService
from ingester.start import Claimed, claim_sequencer
from writebuffer.connect import connect
from writebuffer.contract import Reader, Trimmable
from writebuffer.trimming import Trimmer

HTTP_SHUTDOWN_S = 2.0


def run(cluster: ClusterConfig, config: IngesterConfig, retention: RetentionConfig, sequencer: SequencerId) -> int:
    """Follow `sequencer` until SIGTERM or SIGINT; 0 after an ordered end.

    Raises Misconfigured, Forked, OffsetTrimmed, Fenced or DataCorrupt, with what to do. A second signal stops at once.
    """
    logger = configure(f"ingester-{sequencer}")
    clock = SystemClock()
    published = Published(sequencer)
    status = Status(sequencer, published)
    stopped = _on_signal(status)
    connect(cluster.write_buffer_url)  # first: a wrong URL makes nothing in the store
    store, _ = join_cluster(cluster, clock.now_ns())
    http_port = _port(config.http_port, sequencer)
    http = HttpServer(
        make_app(status, logger), bind(config.host, http_port, "--http-port"), shutdown_timeout_s=HTTP_SHUTDOWN_S
    )
    http.start_thread()
    flight = _flight_server(published, clock, config, sequencer)
    claimed: Claimed | None = None
    try:
        claimant = _instance(config, http.port, flight.port)
        logger.info("listening", http=claimant.http_address, flight=claimant.flight_address, pid=os.getpid())
        claimed = claim_sequencer(cluster, store, sequencer, claimant, config.accept_loss, stopped, logger)
        if claimed is not None:
            with _trimming(claimed.reader, sequencer, store, retention, clock, logger):
                _follow(claimed, store, published, status, config, clock, stopped)
        logger.info("stopped")
    finally:
        published.end()
        flight.shutdown()
        http.stop()
        if claimed is not None:
            claimed.reader.close()
    return 0


@contextmanager
def _trimming(
    reader: Reader,
    sequencer: SequencerId,
    store: ObjectStore,
    retention: RetentionConfig,
    clock: Clock,
    logger: Logger,
) -> Iterator[None]:
    """Trims the sequencer meanwhile, where that is its readers' part."""
    if not isinstance(reader, Trimmable):
        yield
        return
    trimmer = Trimmer(reader, reader, [sequencer], Consumed(store).below, retention, clock, logger)
    trimmer.start()
    try:
        yield
    finally:
        trimmer.stop()


def _follow(
    claimed: Claimed,
    store: ObjectStore,
    published: Published,
    status: Status,
    config: IngesterConfig,
    clock: SystemClock,
    stopped: threading.Event,
) -> None:
    state = claimed.state
    logger = configure(f"ingester-{state.sequencer}")
    rng = random.Random(secrets.randbits(128))
    core = IngesterCore(state, Rules.of(config), config.file_bytes_max, 2 * config.persist_workers, rng)
    newest = lambda: claimed.reader.offsets(state.sequencer).next_offset
    published.begin(state.epoch, core.view, claimed.next_offset, newest)
    service = IngesterService(core, claimed.reader, store, published, config, clock, logger)
    status.service = service
    logger.info(
        "claimed",
        epoch=state.epoch,
        replay_offset=state.replay_offset,
        next_offset=claimed.next_offset,
        files=len(state.files),
        manifest_number=state.number,
    )
    if stopped.is_set():
        service.stop()
    service.run()


def _on_signal(status: Status) -> threading.Event:
    """The first signal asks for the ordered end, the second stops at once: a crash is always safe."""
    stopped = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            os._exit(128 + number)
        stopped.set()
        status.stopping = True
        if status.service is not None:
            status.service.stop()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return stopped


def _flight_server(
    published: Published, clock: SystemClock, config: IngesterConfig, sequencer: SequencerId
) -> QueryServer:
    port = _port(config.flight_port, sequencer)
    if port:
        bind(config.host, port, "--flight-port").close()  # for its message: Flight's own names no option
    try:
        return QueryServer(published, clock, config.host, port)
    except (OSError, pa.ArrowException) as error:
        raise Misconfigured(f"Flight on {config.host}:{port}: {error}; give another with --flight-port") from None


def _port(first: int, sequencer: SequencerId) -> int:
    return first + sequencer if first else 0


def _instance(config: IngesterConfig, http_port: int, flight_port: int) -> Instance:
    host = config.advertise_host or config.host
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    return Instance(name, f"{host}:{http_port}", f"{host}:{flight_port}")

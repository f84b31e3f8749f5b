"""A write endpoint that answers as set and remembers what it was sent."""

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class StubAnswer:
    """token: of the write, sent with any status. retry_after, dropped: the headers' texts."""

    status: int = 204
    token: str = ""
    document: dict[str, Any] = field(default_factory=dict)
    retry_after: str = ""
    hang_up: bool = False
    dropped: str = ""


@dataclass
class StubRouter:
    """requests: (path with query, headers, body after gzip), one for each that was read."""

    url: str
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    connections: int = 0

    @property
    def bodies(self) -> list[bytes]:
        return [body for _, _, body in self.requests]


def refused(*lines: tuple[int, str], of: int, token: str = "", count: int | None = None) -> StubAnswer:
    """The router's answer to a body of which some lines were refused."""
    refused = [{"error_message": reason, "line_number": number, "original_line": ""} for number, reason in lines]
    count = count or len(lines)
    document = {
        "code": "invalid",
        "message": f"partial write: {count} of {of} lines refused:\n…",
        "line": lines[0][0],
        "refused_count": count,
        "data": refused,
    }
    return StubAnswer(400, token, document)


@contextmanager
def stub_router(answer: Callable[[int, bytes], StubAnswer]) -> Iterator[StubRouter]:
    """answer(number of the request from 0, its body)."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            with lock:
                stub.connections += 1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            with lock:
                number = len(stub.requests)
                stub.requests.append((self.path, dict(self.headers), body))
            self._reply(answer(number, body))

        def _reply(self, reply: StubAnswer) -> None:
            if reply.hang_up:
                self.close_connection = True
                return
            data = json.dumps(reply.document).encode() if reply.document else b""
            self.send_response(reply.status)
            headers = {"X-Penstock-Write-Token": reply.token, "Retry-After": reply.retry_after}
            headers["X-Penstock-Dropped-Fields"] = reply.dropped
            for name, value in headers.items():
                if value:
                    self.send_header(name, value)
            if reply.status != 204:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stub = StubRouter(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

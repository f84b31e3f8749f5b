"""HTTP/1 as uvicorn parses it, without two of its ways to mislead a client.

A request that offers an upgrade (`Upgrade: h2c`, as curl --http2 and Java's HttpClient do on every plain connection) is
read as any other: the parser stops at its headers, and left alone uvicorn would pass it on without its body.
What is not HTTP is refused as every other error, in JSON.
"""

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_OF_AN_UPGRADE = (b"upgrade", b"http2-settings")


class Http1Protocol(HttpToolsProtocol):
    """Without `refuse`, which connection.py has."""

    def data_received(self, data: bytes) -> None:
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            self.refuse(400, "invalid", f"the request is not valid HTTP/1: {error}")

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self.scope["method"] == "CONNECT":
                self.refuse(400, "invalid", "CONNECT is not supported: this is not a proxy")
                return
            head = self._head_without_upgrade()
            self.parser = httptools.HttpRequestParser(self)
            self._feed(head + data[upgrade.args[0] :])

    def _should_upgrade(self) -> bool:
        """Called after the headers of a request that offers an upgrade. It is not handled yet: it is parsed again."""
        return True

    def _head_without_upgrade(self) -> bytes:
        """The request line and headers just parsed, as of a client that offers no upgrade."""
        version = self.scope.get("http_version", "1.1").encode()
        lines = [b"%s %s HTTP/%s" % (self.scope["method"].encode(), self.url, version)]
        for name, value in self.headers:
            if name == b"connection":
                value = b"close" if b"close" in value.lower() else b"keep-alive"
            if name not in _OF_AN_UPGRADE:
                lines.append(b"%s: %s" % (name, value))
        return b"\r\n".join([*lines, b"", b""])

    def refuse(self, status: int, code: str, message: str) -> None:
        """Answer what no handler has seen, and end the connection."""
        raise NotImplementedError

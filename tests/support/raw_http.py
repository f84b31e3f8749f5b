"""HTTP byte by byte on a real connection, for what no client library would send."""

import socket
from collections.abc import Iterable


def exchange(port: int, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the first answer to what is sent, part by part, on one connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            connection.sendall(part)
        return answer_on(connection)


def answer_on(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    with connection.makefile("rb") as file:
        status = int(file.readline().split()[1])
        headers = {}
        while line := file.readline().strip():
            name, _, value = line.decode("latin-1").partition(": ")
            headers[name.lower()] = value
        return status, headers, file.read(int(headers.get("content-length", "0")))


def request_bytes(method: str, target: str, headers: Iterable[str], body: bytes, version: str = "1.1") -> bytes:
    """One request with a Host and these headers, no others."""
    head = [f"{method} {target} HTTP/{version}", "Host: x", *headers, "", ""]
    return "\r\n".join(head).encode(errors="surrogateescape") + body

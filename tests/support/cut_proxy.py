"""A TCP proxy that can swallow a server's next answer and cut the connection: a lost acknowledgement, exactly once."""

import socket
import threading
from contextlib import suppress


class CutProxy:
    """Listens on 127.0.0.1:port and passes everything on to another port of this machine."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._cut_after: bytes | None = None
        self.admitting = threading.Event()
        """While it is clear, new connections are accepted and wait; existing ones go on."""
        self.admitting.set()
        self.cut = threading.Event()
        """An answer was swallowed."""
        threading.Thread(target=self._accept, daemon=True).start()

    def swallow_answer_to(self, request: bytes) -> None:
        """The answer that follows the next request with these bytes in it never arrives; its connection is cut."""
        self.cut.clear()
        self._cut_after = request

    def close(self) -> None:
        self._listener.close()
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.admitting.wait()
                server = socket.create_connection(("127.0.0.1", self._target_port))
                self._sockets += [client, server]
                doomed = threading.Event()
                threading.Thread(target=self._requests, args=(client, server, doomed), daemon=True).start()
                threading.Thread(target=self._answers, args=(server, client, doomed), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket, doomed: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if self._cut_after and self._cut_after in data:
                    self._cut_after = None
                    doomed.set()
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _answers(self, server: socket.socket, client: socket.socket, doomed: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if doomed.is_set():
                    self.cut.set()
                    break
                client.sendall(data)
        for one in (client, server):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

"""One connection to one Redis server, and what its errors mean: the only place that knows redis-py's.

Every error of the library and the server comes out as one of penstock's:
- Lost: no answer, so the request may have been carried out. Connect again, and ask again.
- NotServing: the server refuses for now and did nothing (it loads, is a replica, moved the slot). Connect again later.
- Unavailable otherwise: this request was refused and did nothing (memory or disk is full); the connection is fine.
- Misconfigured: password, rights or addresses have to be set right by a person.
- NoScript, Refused: answers of our own scripts' calls, for the caller to decide about.
"""

import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import redis.exceptions as errors

from common.values.errors import DataCorrupt, Misconfigured, PenstockError, Unavailable, Written
from writebuffer.redis.keys import Keys
from writebuffer.redis.scripts import Script

ANSWER_S = 5.0
"""How long a server may take for anything it can answer at once; then the connection counts as lost."""

_NOT_SERVING = ("LOADING", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "MOVED", "ASK", "UNBLOCKED", "BUSY")
_REFUSES = {
    "OOM": "its memory is full (maxmemory); trim the buffer, or give the server more",
    "MISCONF": "it cannot write to its disk; make room, or see the server's log",
    "NOREPLICAS": "fewer replicas are there than its min-replicas-to-write asks for",
}
_OUR_WORDS = ("FORKED", "HELD", "FORGOTTEN", "ORPHANED")
_SCRIPT_RIGHTS = ("ACL failure in script", "The user executing the script can't")
"""Of Redis 7.2 and of 7.0, which have no code for it."""
_CREDENTIALS = "set user and password in the URL: redis://user:password@host"


class Lost(Unavailable):
    """No answer: what was asked for may have happened."""


class NotServing(Unavailable):
    """Nothing happened; the same question may be answered later, or by another server."""


class NoScript(Exception):
    """The server does not know the script (any more); nothing was done."""


class Refused(Exception):
    """A script's own answer that it did nothing: `word` says why."""

    def __init__(self, word: str, rest: str) -> None:
        super().__init__(f"{word} {rest}")
        self.word = word
        self.rest = rest


class Link:
    """Used by one thread; only `interrupt` may be called from another."""

    def __init__(self, connection: Any, server: str) -> None:
        """Connects a redis-py connection. server: for messages. Raises Lost, NotServing, Misconfigured."""
        self.server = server
        self._connection = connection
        try:
            self._connection.connect()
        except (errors.RedisError, OSError) as error:
            self.close()
            raise self._translated(error, "cannot connect to it", written="no") from error

    def send(self, packed: Sequence[bytes]) -> None:
        """Raises Lost."""
        try:
            self._connection.send_packed_command(packed, check_health=False)
        except (errors.RedisError, OSError) as error:
            raise self._translated(error, "the connection broke") from error

    def receive(self, timeout_s: float = ANSWER_S) -> Any:
        """The next answer. Raises what the module's docstring lists; after Lost the link is of no use any more."""
        try:
            if not self._connection.can_read(max(0.0, timeout_s)):
                raise Lost(f"{self.server} did not answer within {timeout_s:.3g} s", written="unknown")
            return self._connection.read_response(disconnect_on_error=False)
        except (errors.RedisError, OSError) as error:
            raise self._translated(error, "the connection broke") from error

    def call_all(self, *commands: Sequence[bytes], timeout_s: float = ANSWER_S) -> list[Any]:
        """Send all at once, and return all answers; raises the first error among them."""
        self.send([packed for command in commands for packed in pack(command)])
        answers: list[Any] = []
        first_error: Exception | None = None
        for _ in commands:
            try:
                answers.append(self.receive(timeout_s))
            except Lost:
                raise
            except (PenstockError, NoScript, Refused) as error:
                first_error = first_error or error
        if first_error is not None:
            raise first_error
        return answers

    def call(self, *arguments: bytes, timeout_s: float = ANSWER_S) -> Any:
        return self.call_all(arguments, timeout_s=timeout_s)[0]

    def run(self, script: Script, keys: Keys, *arguments: bytes) -> Any:
        """Call `script`, which the server need not know yet. Raises Refused where it says so."""
        try:
            return self.call(*script.call(keys, *arguments))
        except NoScript:
            return self.call(*script.first_call(keys, *arguments))

    def interrupt(self) -> None:
        """Make whoever waits for an answer get Lost at once."""
        sock = self._connection._sock
        if sock is not None:
            with suppress(OSError):
                # Not sock.shutdown: that of a TLS socket would take its state away under the thread that reads.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def close(self) -> None:
        self._connection.disconnect()

    def _translated(self, error: Exception, what: str, written: Written = "unknown") -> Exception:
        if isinstance(error, errors.NoScriptError):
            return NoScript()
        word = getattr(error, "status_code", None) or str(error).partition(" ")[0]
        if isinstance(error, errors.AuthenticationError | errors.AuthorizationError):
            return Misconfigured(f"{self.server} asks for another user or password ({error}); {_CREDENTIALS}")
        if isinstance(error, errors.NoPermissionError) or any(said in str(error) for said in _SCRIPT_RIGHTS):
            return Misconfigured(f"{self.server} does not let this user do what a write buffer needs: {error}")
        if word in _NOT_SERVING:
            return NotServing(f"{self.server} does not serve this now: {_with_word(word, error)}")
        if word in _REFUSES:
            return Unavailable(f"{self.server} refuses writes: {_REFUSES[word]} ({error})")
        if isinstance(error, errors.ResponseError):
            return self._answered(word, error)
        if isinstance(error.__context__, ssl.SSLCertVerificationError):
            return Misconfigured(f"{self.server}: its certificate is not trusted ({error}); see the ssl_ options")
        return Lost(f"{self.server}: {what}: {error}", written=written)

    def _answered(self, word: str, error: Exception) -> Exception:
        if word in _OUR_WORDS:
            return Refused(word, str(error).partition(" ")[2])
        if word.isupper() and word not in ("ERR", "WRONGTYPE"):
            return Unavailable(f"{self.server} refuses: {error}")
        if "SELECT" in str(error) or "DB index" in str(error) or "invalid DB" in str(error):
            return Misconfigured(f"{self.server} has no such database: {error}")
        return DataCorrupt(f"{self.server}: the buffer's keys hold something that penstock did not write: {error}")


def pack(arguments: Sequence[bytes]) -> list[bytes]:
    """One command as the server reads it."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        parts += (b"$%d\r\n" % len(argument), argument, b"\r\n")
    return [b"".join(parts)]


def _with_word(word: str, error: Exception) -> str:
    text = str(error)
    return text if text.startswith(word) else f"{word} {text}"

"""What one server lets its connections use: how many there are, how much waits to be read, and how slow they may be.

A connection costs memory whether it sends or not, and the parts of a body that were read from its socket cost memory
until the handler asks for them. Both are shared fairly between clients (common/values/shares.py), and both have an end:
a client that sends or reads too slowly is answered or cut off, so that it holds its place for a bounded time.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from common.http.clients import client_of
from common.values.addresses import Proxies
from common.values.shares import Shares

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Times in seconds.

    connections_max: answered as usual; a quarter more are answered 503 each, others are closed at once.
    unread_bytes_max: of bodies, read from sockets and not asked for by handlers yet, of all connections.
    head_s: from the first byte of a request to the end of its headers. stall_s: between two parts of a body, and its
    first allowance; each second beyond needs body_bytes_per_s. drain_s: for what follows of a body that was refused.
    idle_s: without a request; longer than clients' own flush intervals, since a connection that closes just as a write
    arrives loses that write. answer_s: for the client to read what it was answered. linger_s: between an answer and
    the close of a connection on which more may come, so that the client sees the answer and no reset. rest_s_max: the
    longest time for which a connection is not read, because its client does not wait as Retry-After asks.
    """

    connections_max: int = 2048
    unread_bytes_max: int = 16 * MIB
    head_s: float = 20.0
    stall_s: float = 30.0
    body_bytes_per_s: int = 1024
    drain_s: float = 30.0
    idle_s: float = 75.0
    answer_s: float = 30.0
    linger_s: float = 2.0
    rest_s_max: float = 4.0
    proxies: Proxies = field(default_factory=Proxies)


class BodyTooSlow(Exception):
    """The body stopped arriving, or arrives too slowly."""


class BodyTooMuch(Exception):
    """More of the clients' bodies waits to be read than there is memory for."""


SURPLUS = 0.25
"""Of connections_max: so many more are answered that there are too many."""


class Shared:
    """What the connections of one server have together. For one event loop."""

    def __init__(self, limits: HttpLimits) -> None:
        self.limits = limits
        self.connections = Shares(limits.connections_max)
        self.refused = 0
        """How many connections had no place since the start."""
        self.unread = Shares(limits.unread_bytes_max)
        self._surplus_max = max(1, int(limits.connections_max * SURPLUS))
        self._surplus = 0

    def owner(self, host: str, port: int) -> str:
        """Whose a connection is. Those of a trusted proxy carry many clients' requests: each is by itself."""
        return f"{host}:{port}" if self.limits.proxies.trust(host) else client_of(host)

    def take_surplus(self) -> bool:
        """A place for one connection that is only answered that there are too many. False where none is left."""
        if self._surplus == self._surplus_max:
            return False
        self._surplus += 1
        return True

    def give_surplus_back(self) -> None:
        self._surplus -= 1


class Intake:
    """The body of one request on its way from the socket to its handler."""

    def __init__(self, shared: Shared, owner: str, rest: Callable[[float], None]) -> None:
        """rest: called with the seconds of the answer's Retry-After."""
        self.rest = rest
        self.is_asked_for = False
        """Whether the handler wants the body: `ask` was called."""
        self.has_ended = False
        """Whether the end of the body has arrived."""
        self._shared = shared
        self._owner = owner
        self._unread = 0
        self._received = 0
        self._is_too_much = self._is_over = False
        self._began_s = self._arrived_s = 0.0

    def ask(self) -> None:
        """The handler wants the body. Its time begins: before, the connection may not be read, for the requests before
        this one, and a client that waits for `100 Continue` sends nothing."""
        self.is_asked_for = True
        self._began_s = self._arrived_s = asyncio.get_running_loop().time()

    def arrived(self, count: int) -> bool:
        """Whether that much may be kept for the handler. Once it may not, the request is lost."""
        if self._is_over:
            return False
        self._is_too_much = self._is_too_much or not self._shared.unread.take(self._owner, count, self._unread)
        if self._is_too_much:
            return False
        self._unread += count
        self._received += count
        self._arrived_s = asyncio.get_running_loop().time()
        return True

    @property
    def has_unread(self) -> bool:
        """Whether a part waits for the handler."""
        return self._unread > 0

    @property
    def is_whole(self) -> bool:
        """Whether all of the body waits for the handler, and nobody has read a part of it."""
        return self.has_ended and self._unread == self._received > 0 and not self._is_too_much

    def asked_for(self, count: int) -> None:
        """The handler has so much of it, and must bound it by itself."""
        self._shared.unread.give_back(self._owner, count)
        self._unread -= count

    def close(self) -> None:
        """The request is over, whatever was read of it."""
        self._is_over = True
        self.asked_for(self._unread)

    def check(self) -> None:
        """Raises BodyTooMuch once a part of the body could not be kept."""
        if self._is_too_much:
            raise BodyTooMuch(
                f"{self._shared.unread.held} bytes of requests wait to be read, the limit is "
                f"{self._shared.unread.limit}: send again later"
            )

    @property
    def deadline_s(self) -> float:
        """When the next part must be there, by the loop's clock. After `ask`."""
        limits = self._shared.limits
        earned_s = self._received / limits.body_bytes_per_s
        return limits.stall_s + min(self._arrived_s, self._began_s + earned_s)

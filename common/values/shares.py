"""An amount that clients share: bytes in flight, connections. No client can take all of it from the others.

One request of a client may take whatever is free. Together a client's requests may hold half of what the other clients
leave: alone it can hold half of the whole, and n clients that want as much as they can get hold 1/(n+1) each, so that
one more always finds its own 1/(n+1) free. Nothing is set aside for clients that do not come, and no client has to be
known beforehand. (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998.)
"""


class Shares:
    """Of `limit`; what is held is counted by client. Clients that hold nothing cost nothing."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self._held_by: dict[str, int] = {}

    def of(self, client: str) -> int:
        """What `client` holds."""
        return self._held_by.get(client, 0)

    @property
    def clients(self) -> int:
        """How many clients hold something."""
        return len(self._held_by)

    def take(self, client: str, count: int, of_request: int = 0) -> bool:
        """Let `client` hold `count` more, if they fit. of_request: what the request that asks holds already."""
        held = self.of(client)
        if self.held + count > self.limit:
            return False
        if held > of_request and held + count > (self.limit - (self.held - held)) // 2:
            return False
        if count:
            self._held_by[client] = held + count
            self.held += count
        return True

    def give_back(self, client: str, count: int) -> None:
        """Of what `client` holds."""
        left = self.of(client) - count
        assert count >= 0 <= left, f"{client} gives back {count} of {left + count}"
        self.held -= count
        if left:
            self._held_by[client] = left
        else:
            self._held_by.pop(client, None)

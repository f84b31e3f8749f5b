"""How many bytes of bodies this router holds at once, and for whom; over the bound, clients send again later."""

from common.values.shares import Shares


class Admission:
    """Counts bytes from the moment a body's length is known, or its parts are read, to its batch's last append.

    Who reads a body admits its bytes; with the event Arrived they become the core's to release.
    """

    def __init__(self, bytes_max: int) -> None:
        self._shares = Shares(bytes_max)

    @property
    def bytes_held(self) -> int:
        return self._shares.held

    @property
    def clients(self) -> int:
        """How many clients have a write in flight."""
        return self._shares.clients

    def admit(self, client: str, count: int, of_request: int = 0) -> bool:
        """Hold `count` more bytes, if they fit into the client's share. of_request: held for this body already."""
        return self._shares.take(client, count, of_request)

    def release(self, client: str, count: int) -> None:
        self._shares.give_back(client, count)

    def refusal(self, client: str) -> str:
        """Why a body of `client` was just not admitted."""
        return (
            f"{self.bytes_held} bytes of writes are in flight, {self._shares.of(client)} of them from this client; "
            f"the limit is {self._shares.limit} for all clients (in_flight_bytes_max), and each has a share: "
            "send again later"
        )

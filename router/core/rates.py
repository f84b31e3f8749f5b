"""How much one client may send, where an operator limits it: requests and bytes per second, over short times more.

A client is charged what it sent, and may send while it owes nothing; it is forgiven `per_s` each second. One that sent
little before may send BURST_S seconds' worth at once. What is charged is known only when a body was read, so requests
that are under way together may go further: then more is owed, and the client waits longer.
"""

import math

BURST_S = 10.0
"""Agents send what they collected in some seconds together."""

_CLIENTS_KEPT = 1_000
"""Before those that owe nothing are looked for and forgotten."""


class Rate:
    """`per_s` of something for each client; 0 is no limit. Clients that have sent little for a while cost nothing."""

    def __init__(self, per_s: float) -> None:
        self.per_s = per_s
        self._free_at_s: dict[str, float] = {}
        """When a client owes nothing; one that is not here owes nothing, and has its burst."""
        self._forget_above = _CLIENTS_KEPT

    def wait_s(self, client: str, now_s: float) -> float:
        """How long until `client` may send again; 0 where it may. now_s: a clock that never goes back."""
        return max(0.0, self._free_at_s.get(client, now_s) - now_s)

    def charge(self, client: str, count: float, now_s: float) -> None:
        if not self.per_s:
            return
        least_s = now_s - BURST_S
        self._free_at_s[client] = max(self._free_at_s.get(client, least_s), least_s) + count / self.per_s
        if len(self._free_at_s) > self._forget_above:
            self._free_at_s = {one: at_s for one, at_s in self._free_at_s.items() if at_s > least_s}
            self._forget_above = max(_CLIENTS_KEPT, 2 * len(self._free_at_s))

    def __len__(self) -> int:
        """How many clients are remembered."""
        return len(self._free_at_s)


class ClientRates:
    """Both limits of a router."""

    def __init__(self, requests_per_s: float = 0, bytes_per_s: float = 0) -> None:
        self._requests = Rate(requests_per_s)
        self._bytes = Rate(bytes_per_s)

    def admit(self, client: str, now_s: float) -> tuple[int, str] | None:
        """None, and one request is charged; or the whole seconds until `client` may send again, and why not now."""
        wait_s = max(self._requests.wait_s(client, now_s), self._bytes.wait_s(client, now_s))
        if wait_s:
            return math.ceil(wait_s), (
                f"client {client} has sent more than it may, {self._allowed()}: send again after {math.ceil(wait_s)} s"
            )
        self._requests.charge(client, 1, now_s)
        return None

    def charge_bytes(self, client: str, count: int, now_s: float) -> None:
        """Of a body, after decompression."""
        self._bytes.charge(client, count, now_s)

    def _allowed(self) -> str:
        limits = [(self._requests.per_s, "requests"), (self._bytes.per_s, "bytes")]
        return " and ".join(f"{per_s:g} {unit} per second (client_{unit}_per_s)" for per_s, unit in limits if per_s)

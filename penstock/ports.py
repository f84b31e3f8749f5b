"""The ports of an embedded cluster, settled before a process is started.

A port of 0 becomes a free one here, because a restarted child has to come back where clients and queries look for it.
"""

import dataclasses
import socket
from collections.abc import Collection

from common.config import IngesterConfig, RouterConfig, variable
from common.errors import Misconfigured

_HIGHEST = 65535


def settle(sequencers: int, router: RouterConfig, ingester: IngesterConfig) -> tuple[RouterConfig, IngesterConfig]:
    """The same settings with every port set and free.

    Raises Misconfigured naming a host that is not this machine's, or a taken port, with the settings to change.
    """
    taken: dict[int, str] = {}
    for host in {router.host, ingester.host}:
        _any_free(host)
    router = dataclasses.replace(router, port=_block("port", router.host, router.port, 1, taken))
    http_port = _block("http_port", ingester.host, ingester.http_port, sequencers, taken)
    flight_port = _block("flight_port", ingester.host, ingester.flight_port, sequencers, taken)
    return router, dataclasses.replace(ingester, http_port=http_port, flight_port=flight_port)


def reachable(host: str) -> str:
    """A host that this machine reaches the address bound by, in the form a URL takes."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


def _block(setting: str, host: str, first: int, count: int, taken: dict[int, str]) -> int:
    """The first of `count` ports side by side, all free, which are added to `taken` with their setting."""
    if first == 0:
        first = _free_block(host, count, taken)
    for port in range(first, first + count):
        if port in taken:
            raise Misconfigured(
                f"port {port} is asked for twice, by {_flag(taken[port])} and by {_flag(setting)} ({count} from "
                f"{first}); give another with one of them (or {variable(taken[port])}, {variable(setting)}; 0 takes a "
                "free one)",
                port=port,
            )
        if reason := _refusal(host, port):
            raise Misconfigured(f"port {port} on {host}: {reason}; {_remedy(setting)}", port=port)
        taken[port] = setting
    return first


def _remedy(setting: str) -> str:
    return f"stop what holds it, or give another with {_flag(setting)} (or {variable(setting)}; 0 takes a free one)"


def _flag(setting: str) -> str:
    return f"--{setting.replace('_', '-')}"


def _free_block(host: str, count: int, taken: Collection[int]) -> int:
    for _ in range(100):
        first = _any_free(host)
        ports = range(first, first + count)
        if not any(port in taken for port in ports) and not any(_refusal(host, port) for port in ports):
            return first
    raise Misconfigured(f"no {count} free ports side by side were found on {host}: give them by number")


def _any_free(host: str) -> int:
    try:
        with _socket(host) as probe:
            probe.bind((host, 0))
            port: int = probe.getsockname()[1]
            return port
    except OSError as error:
        raise Misconfigured(
            f"host {host!r} is no address of this machine ({error.strerror or error}): correct --host (or "
            f"{variable('host')}); 127.0.0.1 is for this machine alone, 0.0.0.0 for all its addresses",
            host=host,
        ) from None


def _refusal(host: str, port: int) -> str | None:
    """Why `port` cannot be bound; None when it can."""
    if not 0 < port <= _HIGHEST:
        return f"ports go from 1 to {_HIGHEST}"
    try:
        with _socket(host) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return str(error.strerror or error).lower()
    return None


def _socket(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)

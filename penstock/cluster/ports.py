"""The ports of an embedded cluster, chosen and checked before a process is started.

A port of 0 becomes a free one here, because a restarted child has to come back where clients and queries look for it.
"""

import dataclasses
from collections.abc import Collection

from common.http.listening import bound, given_by
from common.values.config import IngesterConfig, RouterConfig, variable
from common.values.errors import Misconfigured

_HIGHEST = 65535
_ATTEMPTS = 100
"""To find free ports side by side."""

Listening = RouterConfig | IngesterConfig


def settle(sequencers: int, router: RouterConfig, ingester: IngesterConfig) -> tuple[RouterConfig, IngesterConfig]:
    """The same settings with every port set and free.

    Raises Misconfigured naming a host that is not this machine's, or a port in use, with the settings to change.
    """
    for one in (router, ingester):
        bound(one.listen_host, 0, "port", one.host_setting).close()
    chosen: dict[int, str] = {}
    port = _block("port", router, router.port, 1, chosen)
    http_port = _block("http_port", ingester, ingester.http_port, sequencers, chosen)
    flight_port = _block("flight_port", ingester, ingester.flight_port, sequencers, chosen)
    return (
        dataclasses.replace(router, port=port),
        dataclasses.replace(ingester, http_port=http_port, flight_port=flight_port),
    )


def _block(setting: str, config: Listening, first: int, count: int, chosen: dict[int, str]) -> int:
    """The first of `count` ports side by side, all free, which are added to `chosen` with their setting."""
    if first == 0:
        first = _free_block(config, count, chosen)
    for port in range(first, first + count):
        if port in chosen:
            raise Misconfigured(
                f"port {port} is asked for twice, by {_flag(chosen[port])} and by {_flag(setting)} ({count} from "
                f"{first}); give another with one of them (or {variable(chosen[port])}, {variable(setting)}; 0 chooses "
                "a free one)",
                port=port,
            )
        _probe(config, port, setting)
        chosen[port] = setting
    return first


def _flag(setting: str) -> str:
    return f"--{setting.replace('_', '-')}"


def _free_block(config: Listening, count: int, chosen: Collection[int]) -> int:
    for _ in range(_ATTEMPTS):
        with bound(config.listen_host, 0, "port", config.host_setting) as probe:
            first: int = probe.getsockname()[1]
        ports = range(first, first + count)
        if not any(port in chosen for port in ports) and all(_is_free(config, port) for port in ports):
            return first
    raise Misconfigured(
        f"no {count} free ports side by side were found on {config.listen_host}: give them by number",
        host=config.listen_host,
    )


def _is_free(config: Listening, port: int) -> bool:
    try:
        _probe(config, port, "port")
    except Misconfigured:
        return False
    return True


def _probe(config: Listening, port: int, setting: str) -> None:
    """Raises Misconfigured where `port` cannot be bound."""
    if not 0 < port <= _HIGHEST:
        raise Misconfigured(
            f"port {port} on {config.listen_host}: ports go from 1 to {_HIGHEST}; give another with "
            f"{given_by(setting)}",
            port=port,
        )
    bound(config.listen_host, port, setting, config.host_setting).close()

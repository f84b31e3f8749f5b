"""Hosts and ports: `host:port` and back.

A host by itself never has brackets (`::1`). An IPv6 host gets them wherever a port follows it, in every text and URL:
`[::1]:8086`. Nothing else in penstock joins or splits a host and a port.
"""

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Address:
    """host: a name or an IP address, without brackets. Its text is what follows `http://` or `grpc://`."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Of `host:port`; a port after the last colon of an IPv6 address without brackets is read too.

        Raises ValueError.
        """
        host, _, port = text.rpartition(":")
        if not host or not (port.isascii() and port.isdigit()):
            raise ValueError(f"{text!r} is not host:port")
        return cls(host.removeprefix("[").removesuffix("]"), int(port))


@dataclass(frozen=True, slots=True)
class Proxies:
    """Addresses that are trusted to say, in X-Forwarded-For, for whom they send a request."""

    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Proxies":
        """Of addresses and networks (10.0.0.0/8), separated by commas. Raises ValueError, naming what is neither."""
        return cls(tuple(ipaddress.ip_network(one.strip()) for one in text.split(",") if one.strip()))

    def trust(self, host: str) -> bool:
        ip = _ip(host) if self.networks else None
        return ip is not None and any(ip in network for network in self.networks)


def bracketed(host: str) -> str:
    """`host` as it is written before a port: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def is_every_address(host: str) -> bool:
    """Whether binding `host` (0.0.0.0 or ::) binds every address of the machine; no other machine can connect to it."""
    ip = _ip(host)
    return ip is not None and ip.is_unspecified


def reachable_here(host: str) -> str:
    """A host by which this machine reaches what is bound to `host`."""
    if not is_every_address(host):
        return host
    return "::1" if ":" in host else "127.0.0.1"


def why_no_host(host: str) -> str | None:
    """What is wrong with `host`, and what to give; None where it is a name or an IP address."""
    if not host:
        return "give 127.0.0.1 for this machine alone, or 0.0.0.0 (with IPv6 ::) for all its addresses"
    if "[" in host or "]" in host:
        return "give the host without brackets, such as ::1"
    if "%" in host:
        return "an address that is valid on one link only cannot be used; give one of a wider scope, or a name"
    if (":" in host and _ip(host) is None) or "/" in host:
        return "give a host name or an IP address alone, without a port and without http://"
    return None


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None

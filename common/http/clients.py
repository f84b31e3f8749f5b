"""Who a client is, where several share what one process has: an address.

An IPv4 address is one client, and so is an IPv6 network of 64 bits, because that is what one machine is given. Behind a
proxy every request has the proxy's address, unless the proxy is trusted to say whose it is (X-Forwarded-For).
"""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address

_IPV6_BITS = 64


@lru_cache(maxsize=10_000)
def client_of(host: str) -> str:
    """The client that `host` belongs to; `host` itself where it is no address."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    network = IPv6Address(int(address) >> (128 - _IPV6_BITS) << (128 - _IPV6_BITS))
    return f"{network}/{_IPV6_BITS}"

"""Sockets that listen: which address a host means, and what to do when it cannot be bound."""

import errno
import socket

from common.values.addresses import Address
from common.values.config import variable
from common.values.errors import Misconfigured

BACKLOG = 2048


def resolve(host: str, setting: str) -> Address:
    """The IP address that `host` means for a process that listens, with port 0.

    A name that has both kinds, such as localhost, gives the IPv4 one, so that everything bound to the name is at the
    same address. setting: where the host came from, for the message. Raises Misconfigured for an unknown name.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise _no_address(host, setting, error) from None
    _, _, _, _, place = min(found, key=lambda one: one[0] is not socket.AF_INET)
    return Address(str(place[0]), 0)


def bind(host: str, port: int, port_setting: str, host_setting: str = "host") -> socket.socket:
    """A listening socket. port 0 chooses a free one.

    Raises Misconfigured when the port is in use or the host is no address of this machine, naming the setting.
    """
    sock = bound(host, port, port_setting, host_setting)
    try:
        sock.listen(BACKLOG)  # two sockets may bind one port; only one may listen
    except OSError as error:
        sock.close()
        raise _no_port(Address(host, port), port_setting, error) from None
    return sock


def bound(host: str, port: int, port_setting: str, host_setting: str = "host") -> socket.socket:
    """A socket that is bound and does not listen yet. Raises as `bind`."""
    ip = resolve(host, host_setting).host
    try:
        sock = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET)
    except OSError as error:
        raise _no_address(host, host_setting, error) from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((ip, port))
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise _no_address(host, host_setting, error) from None
        raise _no_port(Address(host, port), port_setting, error) from None
    return sock


def given_by(setting: str) -> str:
    """The flag and the variable of a setting, for a message that says where to correct it."""
    return f"--{setting.replace('_', '-')} (or {variable(setting)})"


def _no_address(host: str, setting: str, error: OSError) -> Misconfigured:
    return Misconfigured(
        f"host {host!r} is no address of this machine ({error.strerror or error}): correct {given_by(setting)}; "
        "127.0.0.1 is for this machine alone, 0.0.0.0 (with IPv6 ::) for all its addresses",
        host=host,
    )


def _no_port(address: Address, setting: str, error: OSError) -> Misconfigured:
    where = f"port {address.port} on {address.host}"
    another = f"give another with {given_by(setting)}; 0 chooses a free one"
    if error.errno == errno.EADDRINUSE:
        text = f"{where} is in use by another process: stop that one, or {another}"
    elif error.errno == errno.EACCES:
        text = f"{where} may not be bound by this user: {another}, or one above 1023"
    else:
        text = f"{where}: {error.strerror or error}; {another}"
    return Misconfigured(text, host=address.host, port=address.port)

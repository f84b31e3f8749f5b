"""Who counts as one client."""

import json
import socket

import pytest
import structlog

from common.http.app import App, Request, Response, json_response
from common.http.clients import client_of
from common.http.intake import HttpLimits, Shared
from common.http.listening import bind
from common.http.server import HttpServer
from common.values.addresses import Proxies
from common.values.config import RouterConfig
from common.values.errors import Misconfigured
from tests.support.raw_http import answer_on


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_an_address_or_an_ipv6_network_is_a_client(host: str, client: str) -> None:
    """An IPv4 address by itself, also in IPv6's form; of IPv6 all that one machine may call its own."""
    assert client_of(host) == client


@pytest.mark.parametrize(
    ("proxies", "sent_by", "forwarded", "client"),
    [
        ("", "127.0.0.1", "192.0.2.7", "127.0.0.1"),
        ("127.0.0.2", "127.0.0.1", "192.0.2.7", "127.0.0.1"),
        ("127.0.0.0/8", "127.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("127.0.0.1, 10.0.0.0/8", "127.0.0.1", "203.0.113.9, 192.0.2.7, 10.1.2.3", "192.0.2.7"),
        ("127.0.0.1", "127.0.0.1", "", "127.0.0.1"),
    ],
)
def test_a_proxy_says_whose_a_request_is_where_it_is_trusted(
    proxies: str, sent_by: str, forwarded: str, client: str
) -> None:
    """The last address in X-Forwarded-For that is not a trusted proxy's; without trust, whoever connected."""

    async def whose(request: Request) -> Response:
        return json_response(200, request.client)

    app = App({"/": {"GET": whose}}, structlog.get_logger())
    limits = HttpLimits(proxies=Proxies.parse(proxies))
    server = HttpServer(app, bind("127.0.0.1", 0, "port"), shutdown_timeout_s=1, limits=limits)
    server.start_thread()
    header = f"X-Forwarded-For: {forwarded}\r\n" if forwarded else ""
    with socket.create_connection(("127.0.0.1", server.port), 20, (sent_by, 0)) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n".encode())
        assert json.loads(answer_on(connection)[2]) == client
    server.stop()


def test_connections_of_a_trusted_proxy_are_not_one_client_s() -> None:
    """They carry many clients' requests, so that only the limit of all bounds them."""
    shared = Shared(HttpLimits(proxies=Proxies.parse("10.0.0.0/8")))
    assert shared.owner("10.0.0.1", 1) != shared.owner("10.0.0.1", 2)
    assert shared.owner("192.0.2.7", 1) == shared.owner("192.0.2.7", 2)


@pytest.mark.parametrize("text", ["localhost", "10.0.0.1:80", "10.0.0.0/33", "10.0.0.1 10.0.0.2"])
def test_a_proxy_is_an_address_or_a_network(text: str) -> None:
    """Anything else ends the router at its start, with the setting's name."""
    with pytest.raises(Misconfigured, match="trusted_proxies"):
        RouterConfig(trusted_proxies=text)

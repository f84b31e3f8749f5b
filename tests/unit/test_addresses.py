"""Hosts and ports in texts and URLs, IPv6 in all of them."""

import socket
from pathlib import Path

import pytest

from common.http.listening import bind, resolve
from common.values.addresses import Address, bracketed, is_every_address, reachable_here
from common.values.config import ClusterConfig, IngesterConfig, RetentionConfig, RouterConfig
from common.values.errors import InvalidRequest, Misconfigured
from penstock.cluster import embedded, ports
from penstock.cluster.status import ask
from penstock.cluster.welcome import welcome
from penstock.writing.client import WriteClient


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8086", "127.0.0.1", 8086),
        ("[::1]:8086", "::1", 8086),
        ("[fd00::2]:0", "fd00::2", 0),
        ("ingester-0:8100", "ingester-0", 8100),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
    ],
)
def test_an_address_is_read_as_it_is_written(text: str, host: str, port: int) -> None:
    """IPv6 in brackets, everything else without."""
    assert Address.parse(text) == Address(host, port)
    assert str(Address(host, port)) == text


def test_an_ipv6_address_without_brackets_is_read_up_to_its_last_colon() -> None:
    """A manifest may hold one from an ingester whose advertise_host was ::1 before brackets were written."""
    assert Address.parse("::1:8100") == Address("::1", 8100)


@pytest.mark.parametrize("text", ["", "host", "8086", ":8086", "host:", "host:http", "host:-1", "host:٣", "[::1]"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """Host and port are both needed."""
    with pytest.raises(ValueError, match="is not host:port"):
        Address.parse(text)


@pytest.mark.parametrize(
    ("host", "here", "is_every"),
    [
        ("127.0.0.1", "127.0.0.1", False),
        ("0.0.0.0", "127.0.0.1", True),
        ("::", "::1", True),
        ("0::0", "::1", True),
        ("::1", "::1", False),
        ("fd00::2", "fd00::2", False),
        ("localhost", "localhost", False),
    ],
)
def test_a_host_that_is_every_address_is_reached_at_the_loopback_one(host: str, here: str, is_every: bool) -> None:
    """However :: is spelled."""
    assert reachable_here(host) == here
    assert is_every_address(host) is is_every


@pytest.mark.parametrize(("host", "shown"), [("::1", "[::1]"), ("127.0.0.1", "127.0.0.1"), ("name", "name")])
def test_brackets_are_for_ipv6(host: str, shown: str) -> None:
    """Before a port."""
    assert bracketed(host) == shown


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("", "give 127.0.0.1 for this machine alone, or 0.0.0.0"),
        ("[::1]", "without brackets, such as ::1"),
        ("127.0.0.1:8086", "without a port"),
        ("::1:zz", "without a port"),
        ("http://localhost", "without http://"),
        ("localhost/", "without http://"),
        ("fe80::1%eth0", "valid on one link only"),
    ],
)
def test_a_host_setting_that_can_never_work_says_what_to_give(host: str, reason: str) -> None:
    """At the process's start, with the setting's name."""
    with pytest.raises(Misconfigured, match=f"^host is {host!r}: ".replace("[", r"\[")) as refused:
        RouterConfig(host=host)
    assert reason in str(refused.value)
    with pytest.raises(Misconfigured, match=r"^host is "):
        IngesterConfig(host=host)
    if host:
        with pytest.raises(Misconfigured, match=r"^router_host is "):
            RouterConfig(router_host=host)
        with pytest.raises(Misconfigured, match=r"^ingester_host is "):
            IngesterConfig(ingester_host=host)
        with pytest.raises(Misconfigured, match=r"^advertise_host is "):
            IngesterConfig(advertise_host=host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_an_address_nobody_can_connect_to_is_not_advertised(host: str) -> None:
    """It is right to bind, and wrong to give to a query."""
    assert IngesterConfig(host=host).listen_host == host
    with pytest.raises(Misconfigured, match=r"advertise_host is .* which no query can connect to"):
        IngesterConfig(advertise_host=host)


def test_router_and_ingesters_have_hosts_of_their_own() -> None:
    """`host` is for both where nothing else is said."""
    assert RouterConfig(host="::1").listen_host == IngesterConfig(host="::1").listen_host == "::1"
    router, ingester = RouterConfig(host="::1", router_host="0.0.0.0"), IngesterConfig(host="::1")
    assert (router.listen_host, ingester.listen_host) == ("0.0.0.0", "::1")
    assert IngesterConfig(host="0.0.0.0", ingester_host="127.0.0.1").listen_host == "127.0.0.1"


@pytest.mark.parametrize(
    ("router", "ingester", "setting"),
    [
        (RouterConfig(router_host="192.0.2.1", port=0), IngesterConfig(), "--router-host (or PENSTOCK_ROUTER_HOST)"),
        (RouterConfig(port=0), IngesterConfig(ingester_host="192.0.2.1"), "--ingester-host (or PENSTOCK_INGESTER_HOST"),
        (RouterConfig(host="2001:db8::1", port=0), IngesterConfig(), "--host (or PENSTOCK_HOST)"),
    ],
)
def test_a_host_of_another_machine_names_the_setting_it_came_from(
    router: RouterConfig, ingester: IngesterConfig, setting: str
) -> None:
    """No port is at fault, so none is spoken of."""
    with pytest.raises(Misconfigured, match="is no address of this machine") as refused:
        ports.settle(1, router, ingester)
    assert setting in str(refused.value)
    assert "port" not in str(refused.value)


def test_a_name_with_both_kinds_of_address_is_bound_at_its_ipv4_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """In any order of the resolver's answers: HTTP and Flight of one process are at the same address."""
    found = socket.getaddrinfo("::1", None, type=socket.SOCK_STREAM)
    found += socket.getaddrinfo("127.0.0.1", None, type=socket.SOCK_STREAM)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
    assert resolve("localhost", "host") == Address("127.0.0.1", 0)


def test_children_and_people_get_urls_with_brackets() -> None:
    """What is printed to try, and what the supervisor asks, can be opened as it is."""
    router = RouterConfig(host="::1", port=9001)
    ingester = IngesterConfig(host="::", http_port=9100, flight_port=9200)
    [[router_spec], [ingester_spec]] = embedded.stages(
        ClusterConfig(sequencers=1), router, ingester, RetentionConfig(), {}
    )
    assert router_spec.ready_url == "http://[::1]:9001/ready"
    assert ingester_spec.ready_url == "http://[::1]:9100/ready"
    text = welcome(ClusterConfig(sequencers=2), router, ingester)
    assert "curl -i 'http://[::1]:9001/api/v2/write?bucket=metrics'" in text
    assert "http://[::1]:9100-9101, Flight grpc://[::1]:9200-9201" in text


@pytest.mark.parametrize("address", ["", "nonsense", "[::1", "host:port"])
def test_an_address_that_nobody_can_read_is_an_ingester_that_does_not_answer(address: str) -> None:
    """`penstock status` goes on with the other sequencers."""
    assert ask(address) is None


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8086",
        "http://",
        "http://::1:8086",
        "http://[::1",
        "http://h:port",
        "http://h:99999",
        "ftp://h",
        "grpc://127.0.0.1:8200",
        "http://h:8086/api/v2/write",
        "http://h:8086/api/v2/write?bucket=b",
        "http://h:8086/api/v3/write_lp",
        "http://h:8086/api",
        "http://h:8086/write",
        "http://h:8086?db=a",
    ],
)
def test_a_router_url_that_cannot_be_used_is_refused_with_the_right_form(url: str) -> None:
    """No traceback for any input."""
    with pytest.raises(InvalidRequest, match=r"^--url .*: .*; give http://host:port, or http://\[::1\]:8086"):
        WriteClient(url, "metrics")


def test_a_port_in_use_on_ipv6_is_found(tmp_path: Path) -> None:
    """Before a process is started."""
    with bind("::1", 0, "port") as listener:
        port = listener.getsockname()[1]
        with pytest.raises(Misconfigured, match=f"port {port} on ::1 is in use by another process"):
            ports.settle(1, RouterConfig(host="::1", port=port), IngesterConfig(host="::1"))

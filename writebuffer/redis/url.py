"""Reading a Redis URL: which servers, whose password, which stream, how durable. The forms are in the package."""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from common.values.addresses import Address
from common.values.errors import Misconfigured
from common.values.urls import redacted

Durability = Literal["always", "everysec", "none"]
DURABILITIES: tuple[Durability, ...] = ("none", "everysec", "always")
"""From the weakest to the strongest."""

FORMS = {
    "redis": "redis://[user:password@]host[:6379][/0][?stream=penstock]",
    "rediss": "rediss://[user:password@]host[:6379][/0][?ssl_ca_certs=/path/ca.pem]",
    "redis+unix": "redis+unix:///path/to/redis.sock[?db=0]",
    "redis+sentinel": "redis+sentinel://host[:26379],host2[:26379]/service[/0][?ssl=true]",
    "redis+cluster": "redis+cluster://host[:6379],host2[:6379][?ssl=true]",
}
_ANY_USER = re.compile(r"://.*@")
"""A URL that is wrong may have its password anywhere before the last @."""
_PORTS = {"redis+sentinel": 26379}
_STREAM = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_SSL_TEXTS = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password")
_CERT_REQS = ("none", "optional", "required")
_COMMON = ("stream", "durability", "replicas", "timeout_s")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """What a URL says, checked. `shown` is the URL without its secrets."""

    text: str = field(repr=False)
    shown: str
    scheme: str
    addresses: tuple[Address, ...] = ()
    socket_path: str = ""
    service: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    ssl: Mapping[str, Any] | None = field(default=None, repr=False)
    """redis-py's own ssl_ arguments; None without TLS."""
    stream: str = "penstock"
    durability: Durability = "always"
    replicas: int = 0
    timeout_s: float = 10.0

    def beside(self, name: str) -> "RedisUrl":
        """The same servers and options, another stream."""
        place, _, query = self.text.partition("?")
        options = [one for one in query.split("&") if one and one.partition("=")[0] != "stream"]
        stream = quote(f"{self.stream}-{name}")
        return parse(f"{place}?{'&'.join([*options, f'stream={stream}'])}")


def parse(text: str) -> RedisUrl:
    """Raises Misconfigured, naming what is wrong and the right form."""
    return _Reading(text).url()


class _Reading:
    """One URL being read; each part that was understood is removed from the options."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.scheme = text.partition(":")[0]
        if self.scheme not in FORMS:
            raise self.wrong(f"has the unknown scheme {self.scheme!r}")
        try:
            self.parts: SplitResult = urlsplit(text)
            pairs = parse_qsl(self.parts.query, keep_blank_values=True, strict_parsing=bool(self.parts.query))
        except ValueError as error:
            raise self.wrong(f"cannot be read ({error})") from None
        if "#" in text or "@" in self.parts.path:
            raise self.wrong(
                "has a '#', '/', '?' or '@' as it is; in a password or path it is written %23, %2F, %3F, %40"
            )
        if not text.startswith(f"{self.scheme}://"):
            raise self.wrong("lacks the two slashes after the scheme")
        self.options = dict(pairs)
        if len(self.options) < len(pairs):
            raise self.wrong("names an option twice")

    def wrong(self, what: str) -> Misconfigured:
        shown = _ANY_USER.sub("://***@", redacted(self.text))
        forms = [FORMS[self.scheme]] if self.scheme in FORMS else list(FORMS.values())
        return Misconfigured(f"write buffer URL {shown!r} {what}; the right form: {' or '.join(forms)}", url=shown)

    def url(self) -> RedisUrl:
        self.check_names()
        user, _, hosts = self.parts.netloc.rpartition("@")
        username, _, password = user.partition(":")
        found = RedisUrl(
            self.text,
            redacted(self.text),
            self.scheme,
            username=unquote(username) or None,
            password=unquote(password) or None,
            sentinel_username=self.options.get("sentinel_username"),
            sentinel_password=self.options.get("sentinel_password"),
            ssl=self.ssl(),
            stream=self.option("stream", self.stream, "penstock"),
            durability=self.option("durability", self.durability, "always"),
            replicas=self.option("replicas", self.count, 0),
            timeout_s=self.option("timeout_s", self.seconds, 10.0),
        )
        if user and not found.password:
            raise self.wrong("names a user without a password; a password alone is written :password@")
        if self.scheme == "redis+unix":
            return self.unix(found, hosts)
        return self.network(found, hosts)

    def check_names(self) -> None:
        known = self.known()
        for name in self.options:
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                meant = f" (did you mean {close[0]}?)" if close else ""
                raise self.wrong(f"has the unknown option {name!r}{meant}; there are {', '.join(known)}")

    def known(self) -> list[str]:
        known = list(_COMMON)
        if self.scheme == "redis+unix":
            return [*known, "db"]
        if self.scheme in ("redis+sentinel", "redis+cluster"):
            known.append("ssl")
        if self.scheme == "redis+sentinel":
            known += ["sentinel_username", "sentinel_password"]
        if self.scheme != "redis":
            known += [*_SSL_TEXTS, "ssl_cert_reqs", "ssl_check_hostname"]
        return known

    def unix(self, found: RedisUrl, hosts: str) -> RedisUrl:
        if hosts or len(self.parts.path) < 2:
            raise self.wrong("does not name an absolute path with three slashes")
        return replace(found, socket_path=unquote(self.parts.path), db=self.option("db", self.count, 0))

    def network(self, found: RedisUrl, hosts: str) -> RedisUrl:
        addresses = tuple(self.address(host) for host in hosts.split(","))
        if len(addresses) > 1 and self.scheme in ("redis", "rediss"):
            raise self.wrong("names several hosts, which only redis+sentinel:// and redis+cluster:// do")
        path = [unquote(part) for part in self.parts.path.split("/")[1:] if part]
        service = ""
        if self.scheme == "redis+sentinel":
            if not path:
                raise self.wrong("does not name the service that the sentinels watch")
            service = path.pop(0)
        if path and self.scheme == "redis+cluster":
            raise self.wrong(f"names {path[0]!r} after the hosts; a cluster has no other database than 0")
        if len(path) > 1:
            raise self.wrong(f"names {path[1]!r} after the database")
        db = self.checked("database", path[0], self.count) if path else 0
        return replace(found, addresses=addresses, service=service, db=db)

    def address(self, text: str) -> Address:
        named = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:\s]+))(?::([0-9]+))?", text)
        if not named:
            raise self.wrong(f"has {text!r} where there must be a host, or host:port")
        port = int(named[3]) if named[3] else _PORTS.get(self.scheme, 6379)
        if not 0 < port < 65536:
            raise self.wrong(f"names port {port}, which is none of 1..65535")
        return Address(named[1] or named[2], port)

    def ssl(self) -> Mapping[str, Any] | None:
        wanted = self.scheme == "rediss" or self.option("ssl", self.boolean, False)
        given = {name: self.options[name] for name in _SSL_TEXTS if name in self.options}
        if "ssl_cert_reqs" in self.options:
            given["ssl_cert_reqs"] = self.checked("ssl_cert_reqs", self.options["ssl_cert_reqs"], self.cert_reqs)
        arguments: dict[str, Any] = dict(given)
        if "ssl_check_hostname" in self.options:
            arguments["ssl_check_hostname"] = self.option("ssl_check_hostname", self.boolean, True)
        if arguments.get("ssl_cert_reqs") == "none":
            arguments.setdefault("ssl_check_hostname", False)
        if arguments and not wanted:
            raise self.wrong(f"has {next(iter(arguments))} but not ssl=true")
        return arguments if wanted else None

    def option(self, name: str, read: Callable[[str], T], default: T) -> T:
        return self.checked(name, self.options[name], read) if name in self.options else default

    def checked(self, name: str, value: str, read: Callable[[str], T]) -> T:
        try:
            return read(value)
        except ValueError as error:
            raise self.wrong(f"has {name} {value!r}, which must be {error}") from None

    @staticmethod
    def count(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,6}", value):
            raise ValueError("a whole number from 0")
        return int(value)

    @staticmethod
    def seconds(value: str) -> float:
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", value) or float(value) < 0.1:
            raise ValueError("seconds, at least 0.1")
        return float(value)

    @staticmethod
    def boolean(value: str) -> bool:
        if value not in ("true", "false"):
            raise ValueError("true or false")
        return value == "true"

    @staticmethod
    def cert_reqs(value: str) -> str:
        if value not in _CERT_REQS:
            raise ValueError(" or ".join(_CERT_REQS))
        return value

    @staticmethod
    def stream(value: str) -> str:
        if not _STREAM.fullmatch(value):
            raise ValueError("1 to 100 letters, digits or _ . : - (no braces: they decide a cluster's slot)")
        return value

    @staticmethod
    def durability(value: str) -> Durability:
        if value not in DURABILITIES:
            raise ValueError(" or ".join(reversed(DURABILITIES)))
        return value

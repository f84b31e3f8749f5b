"""kafka://host[:9092][,host2[:port]...]/topic[?property=value&...]: read, and checked as far as no broker is needed.

Any librdkafka property may be given, for all clients or for the kind that has it, except those that penstock needs as
they are. Names without a dot are penstock's own or few of librdkafka's. A value `env:NAME` is read from the
environment, so that no password has to be in a command line; only such a URL can be shown whole.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit

from confluent_kafka import KafkaException, Producer

from common.values.errors import Misconfigured
from common.values.urls import is_secret, redacted
from writebuffer.record import RECORD_BYTES_MAX

FORM = "kafka://host[:9092][,host2[:port]...]/topic[?librdkafka.property=value&...]"
FRAMING_BYTES = 1024
"""More than what a batch of one record takes beside the record's bytes."""

_PORT = 9092
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_UNDOTTED = {"debug", "retries", "log_level", "acks"}
_FIXED = {
    "acks": {"all", "-1"},
    "request.required.acks": {"all", "-1"},
    "enable.idempotence": {"true"},
    "auto.offset.reset": {"error"},
    "enable.auto.commit": {"false"},
    "enable.auto.offset.store": {"false"},
    "enable.partition.eof": {"true"},
    "isolation.level": {"read_committed"},
    "allow.auto.create.topics": {"false"},
}
"""What penstock sets, with the values that say the same."""
_NOT_USED = re.compile(r"transactional\.id|group\.(?!id$).*|.*\.cb|.*_cb|default\.topic\.config|plugin\.library\.paths")
_REASONS = {
    "partitioner": "it is not used, since each append names its partition, the sequencer",
    "bootstrap.servers": "the hosts are named before the topic",
    "metadata.broker.list": "the hosts are named before the topic",
}


@dataclass(frozen=True, slots=True)
class KafkaUrl:
    """The parts of a URL. `shown`: without secrets, and opens the same buffer where they were given as env:NAME.

    properties: librdkafka's, as given, with env:NAME resolved. replication: of a topic that `create` makes; None: as
    many as there are brokers, up to 3.
    """

    shown: str
    bootstrap: str
    topic: str
    properties: Mapping[str, str] = field(repr=False)
    replication: int | None


def parse(url: str, environ: Mapping[str, str] | None = None) -> KafkaUrl:
    """Raises Misconfigured: what is wrong with `url`, and the right form."""
    reading = _Reading(url, os.environ if environ is None else environ)
    return reading.result()


def with_topic(url: KafkaUrl, topic: str) -> KafkaUrl:
    """The same cluster and properties, another topic."""
    head, _, query = url.shown.partition("?")
    shown = f"{head.rpartition('/')[0]}/{topic}" + (f"?{query}" if query else "")
    return KafkaUrl(shown, url.bootstrap, topic, url.properties, url.replication)


class _Reading:
    """One URL being read; every step raises by `_wrong`."""

    def __init__(self, url: str, environ: Mapping[str, str]) -> None:
        self._shown = redacted(url)
        self._environ = environ
        self._url = url

    def result(self) -> KafkaUrl:
        try:
            parts = urlsplit(self._url)
        except ValueError as error:
            raise self._wrong(str(error)) from None
        if parts.scheme != "kafka" or parts.fragment or "#" in self._url:
            raise self._wrong("has a '#'" if "#" in self._url else "does not start with kafka://")
        bootstrap, topic = self._bootstrap(parts.netloc), self._topic(parts)
        given = self._given(parts.query)
        replication = self._replication(given.get("replication"))
        properties = {name: self._resolved(name, value) for name, value in given.items() if name != "replication"}
        self._check(properties)
        query = "&".join(f"{name}={_shown_value(name, value)}" for name, value in given.items())
        shown = f"kafka://{bootstrap}/{topic}" + (f"?{query}" if query else "")
        return KafkaUrl(shown, bootstrap, topic, properties, replication)

    def _bootstrap(self, netloc: str) -> str:
        if "@" in netloc:
            raise self._wrong("has a user before its hosts; give sasl.username= and sasl.password= after the topic")
        if not netloc:
            raise self._wrong("names no host")
        return ",".join(self._host(one) for one in netloc.split(","))

    def _host(self, text: str) -> str:
        found = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:\s]+)(?::(\d+))?", text)
        if not found:
            raise self._wrong(f"has {text!r} where a host or host:port should be")
        port = int(found[2] or _PORT)
        if not 0 < port < 65536:
            raise self._wrong(f"has port {port}; ports are 1 to 65535")
        return f"{found[1]}:{port}"

    def _topic(self, parts: SplitResult) -> str:
        topic = parts.path.removeprefix("/")
        if not topic:
            raise self._wrong("names no topic")
        if "/" in topic:
            raise self._wrong(f"has a path of several parts ({topic!r}) where the topic's name alone should be")
        if not _TOPIC.fullmatch(topic) or topic in (".", ".."):
            raise self._wrong(f"has the topic {topic!r}; names are 1 to 249 of A-Z a-z 0-9 . _ - and not '.' or '..'")
        return topic

    def _given(self, query: str) -> dict[str, str]:
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        except ValueError:
            raise self._wrong("has a property without '=': they are name=value, joined by '&'") from None
        given: dict[str, str] = {}
        for name, value in pairs:
            if name in given:
                raise self._wrong(f"gives {name} twice")
            given[name] = value
        return given

    def _replication(self, value: str | None) -> int | None:
        if value is None:
            return None
        if not re.fullmatch(r"[1-9]\d{0,3}", value):
            raise self._wrong(f"has replication={value}; it is the number of replicas of a topic that penstock makes")
        return int(value)

    def _resolved(self, name: str, value: str) -> str:
        if not value.startswith("env:"):
            return value
        variable = value.removeprefix("env:")
        if variable not in self._environ:
            raise self._wrong(f"takes {name} from the environment variable {variable!r}, which is not set")
        return self._environ[variable]

    def _check(self, properties: Mapping[str, str]) -> None:
        for name, value in properties.items():
            self._check_allowed(name, value)
        for name in ("delivery.timeout.ms", "message.timeout.ms"):
            if properties.get(name) == "0":
                raise self._wrong(f"has {name}=0, without end: an append would never fail; the default is 30000")
        size = properties.get("message.max.bytes", "")
        if size.isdecimal() and int(size) < RECORD_BYTES_MAX + FRAMING_BYTES:
            raise self._wrong(f"has message.max.bytes={size}; records need {RECORD_BYTES_MAX + FRAMING_BYTES}")
        try:
            Producer({**properties, "bootstrap.servers": "", "enable.idempotence": True, "logger": _Unheard()})
        except (KafkaException, TypeError, ValueError) as error:
            reason = error.args[0].str() if isinstance(error, KafkaException) else str(error)
            raise self._wrong(f"is refused by librdkafka: {reason}") from None

    def _check_allowed(self, name: str, value: str) -> None:
        if name in _REASONS:
            raise self._wrong(f"has {name}: {_REASONS[name]}")
        if name in _FIXED and value.lower() not in _FIXED[name]:
            needed = next(iter(sorted(_FIXED[name], reverse=True)))
            raise self._wrong(f"has {name}={value}, which would break what penstock promises: it is always {needed}")
        if _NOT_USED.fullmatch(name):
            raise self._wrong(f"has {name}, which penstock does not use: it takes part in no group or transaction")
        if not value:  # librdkafka ends the process over an empty group.id
            raise self._wrong(f"has {name} without a value")
        if "." not in name and name not in _UNDOTTED:
            raise self._wrong(f"has the unknown option {name!r}; penstock's own is replication, librdkafka's have dots")

    def _wrong(self, why: str) -> Misconfigured:
        return Misconfigured(f"write buffer URL {self._shown!r} {why}; it is {FORM}", url=self._shown)


class _Unheard:
    """Takes librdkafka's log lines about a client that only checks settings."""

    def log(self, *_: object) -> None: ...


def _shown_value(name: str, value: str) -> str:
    if value.startswith("env:"):
        return value
    return "***" if is_secret(name) else quote(value, safe="/:,;@")

"""kafka:// URLs, read without a broker: what they mean, and what is refused with the reason."""

import pytest

from common.values.errors import Misconfigured
from writebuffer.connect import connect
from writebuffer.kafka import promise
from writebuffer.kafka.times import kafka_time_ms
from writebuffer.kafka.url import FORM, parse, with_topic

GOOD_SETTINGS = {**promise.settings_of_new(3), "max.message.bytes": "1048588"}


def test_hosts_get_kafkas_port_and_properties_go_to_librdkafka() -> None:
    """Hosts, topic and properties are in their places; replication is penstock's own."""
    parsed = parse("kafka://one,two:9093,[::1]:1/metrics.v1?replication=2&compression.type=zstd&linger.ms=3")
    assert parsed.bootstrap == "one:9092,two:9093,[::1]:1"
    assert (parsed.topic, parsed.replication) == ("metrics.v1", 2)
    assert parsed.properties == {"compression.type": "zstd", "linger.ms": "3"}


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("kafka://host", "names no topic"),
        ("kafka://host/", "names no topic"),
        ("kafka:///topic", "names no host"),
        ("kafka://host/a/b", "a path of several parts"),
        ("kafka://host/a%20b", "has the topic"),
        ("kafka://host/..", "has the topic"),
        ("kafka://host/" + "x" * 250, "has the topic"),
        ("kafka://host:port/topic", "where a host or host:port"),
        ("kafka://host:70000/topic", "port 70000"),
        ("kafka://one,,two/topic", "where a host or host:port"),
        ("kafka://me:secret@host/topic", "sasl.username"),
        ("kafka://host/topic#part", "has a '#'"),
        ("kafka://host/topic?linger.ms", "without '='"),
        ("kafka://host/topic?linger.ms=1&linger.ms=2", "gives linger.ms twice"),
        ("kafka://host/topic?linger.ms=soon", "refused by librdkafka"),
        ("kafka://host/topic?linger.mss=1", 'No such configuration property: "linger.mss"'),
        ("kafka://host/topic?replicas=1", "unknown option 'replicas'"),
        ("kafka://host/topic?replication=0", "replication=0"),
        ("kafka://host/topic?acks=1", "acks=1, which would break"),
        ("kafka://host/topic?enable.idempotence=false", "it is always true"),
        ("kafka://host/topic?auto.offset.reset=earliest", "it is always error"),
        ("kafka://host/topic?enable.auto.commit=true", "it is always false"),
        ("kafka://host/topic?isolation.level=read_uncommitted", "it is always read_committed"),
        ("kafka://host/topic?allow.auto.create.topics=true", "it is always false"),
        ("kafka://host/topic?transactional.id=x", "no group or transaction"),
        ("kafka://host/topic?group.instance.id=x", "no group or transaction"),
        ("kafka://host/topic?group.id=", "without a value"),
        ("kafka://host/topic?partitioner=murmur2", "each append names its partition"),
        ("kafka://host/topic?delivery.timeout.ms=0", "delivery.timeout.ms=0, without end"),
        ("kafka://host/topic?message.timeout.ms=0", "message.timeout.ms=0, without end"),
        ("kafka://host/topic?bootstrap.servers=x", "the hosts are named before the topic"),
        ("kafka://host/topic?message.max.bytes=1000000", "records need 1001024"),
        ("kafka://host/topic?error_cb=x", "does not use"),
        ("kafka://host/topic?logger=x", "unknown option 'logger'"),
        ("kafka://host/topic?security.protocol=ssl&ssl.ca.location=/nowhere", "ssl.ca.location failed"),
        ("kafka://host/topic?security.protocol=sasl_ssl&sasl.mechanism=PLAIN", "sasl.username and sasl.password"),
        ("kafka://host/topic?sasl.password=env:UNSET_FOR_SURE", "'UNSET_FOR_SURE', which is not set"),
    ],
)
def test_a_wrong_url_is_refused_with_the_reason_and_the_right_form(url: str, why: str) -> None:
    """Nothing of it is guessed, and no broker is asked."""
    with pytest.raises(Misconfigured) as raised:
        connect(url)
    assert why in raised.value.message
    assert raised.value.message.endswith(FORM)


@pytest.mark.parametrize("same", ["acks=all", "acks=-1", "enable.idempotence=true", "auto.offset.reset=error"])
def test_saying_what_holds_anyway_is_fine(same: str) -> None:
    """A property that repeats penstock's own setting breaks nothing."""
    assert connect(f"kafka://host/topic?{same}")


def test_no_secret_is_shown() -> None:
    """Neither in the URL of the backend nor in an error about it."""
    sasl = "security.protocol=sasl_plaintext&sasl.mechanism=PLAIN&sasl.username=me&sasl.password=hush"
    backend = connect(f"kafka://host/topic?{sasl}")
    assert "hush" not in backend.url
    assert "sasl.username=me&sasl.password=***" in backend.url
    with pytest.raises(Misconfigured) as raised:
        connect(f"kafka://host/topic?{sasl}&acks=1")
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize(
    "name",
    [
        "sasl.password",
        "ssl.key.password",
        "ssl.keystore.password",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.config",
        "sasl.oauthbearer.assertion.private.key.passphrase",
        "sasl.oauthbearer.assertion.private.key.pem",
    ],
)
def test_no_value_of_a_secret_property_is_shown(name: str) -> None:
    """Neither by the backend's URL, nor by what is parsed, nor by an error about another property."""
    url = f"kafka://host/topic?{name}=hush"
    parsed = parse(url)
    assert parsed.properties[name] == "hush"
    assert parsed.shown == f"kafka://host:9092/topic?{name}=***"
    assert "hush" not in repr(parsed)
    with pytest.raises(Misconfigured) as raised:
        parse(f"{url}&acks=1")
    assert "hush" not in str(raised.value)


def test_a_key_in_the_url_is_not_shown_where_it_is_refused() -> None:
    """With any message of librdkafka about it."""
    with pytest.raises(Misconfigured) as raised:
        parse("kafka://host/topic?security.protocol=ssl&ssl.key.pem=hush")
    assert "hush" not in str(raised.value)


def test_a_secret_from_the_environment_leaves_a_url_that_opens_the_same() -> None:
    """env:NAME is resolved for librdkafka and shown as it was given."""
    text = "kafka://host:9092/topic?sasl.password=env:KAFKA_PASSWORD"
    parsed = parse(text, {"KAFKA_PASSWORD": "hush"})
    assert parsed.properties == {"sasl.password": "hush"}
    assert parsed.shown == text


def test_a_topic_beside_keeps_hosts_and_properties() -> None:
    """Its URL can be parsed again, and opens it."""
    beside = with_topic(parse("kafka://one,two/topic?linger.ms=3"), "topic-proof")
    assert parse(beside.shown) == beside


@pytest.mark.parametrize(
    ("change", "replicas", "remedy"),
    [
        ({"cleanup.policy": "compact"}, 3, "set it to delete"),
        ({"cleanup.policy": "compact,delete"}, 3, "set it to delete"),
        ({"unclean.leader.election.enable": "true"}, 3, "set it to false"),
        ({"min.insync.replicas": "1"}, 2, "set it to 2"),
        ({"min.insync.replicas": "2"}, 1, "set it to 1"),
        ({"max.message.bytes": "1000000"}, 3, "set it to 1001024 or more"),
        ({"message.timestamp.type": "LogAppendTime"}, 3, "set it to CreateTime"),
    ],
)
def test_a_topic_that_breaks_the_promise_is_refused(change: dict[str, str], replicas: int, remedy: str) -> None:
    """With the setting, its value, the reason and what to set."""
    (setting, value) = next(iter(change.items()))
    with pytest.raises(Misconfigured) as raised:
        promise.check("kafka://host/topic", {**GOOD_SETTINGS, **change}, replicas)
    assert f"{setting} is {value!r}" in raised.value.message
    assert remedy in raised.value.message


@pytest.mark.parametrize("replicas", [1, 2, 3, 5])
def test_a_topic_that_penstock_makes_is_one_that_it_takes(replicas: int) -> None:
    """With any number of replicas; and Kafka trims nothing of it by itself."""
    settings = {**GOOD_SETTINGS, **promise.settings_of_new(replicas)}
    promise.check("kafka://host/topic", settings, replicas)
    assert promise.retention(settings) is None
    assert ("lost" in promise.durability(settings, replicas)) == (replicas == 1)


def test_retention_of_a_topic_is_named() -> None:
    """Both limits, as Kafka calls them."""
    settings = {**GOOD_SETTINGS, "retention.ms": "1000", "retention.bytes": "5"}
    assert promise.retention(settings) == "retention.ms=1000 and retention.bytes=5"


def test_kafkas_time_follows_the_append_time() -> None:
    """It never decreases where the append time does not, and never leaves what Kafka takes."""
    times_ns = [-(2**63), -1, 0, 999_999, 10**6, 2 * 10**6, 1_700_000_000_123_456_789, 2**63 - 1]
    found = [kafka_time_ms(time_ns) for time_ns in times_ns]
    assert found == sorted(found)
    assert found[0] == 1
    assert found[-2] == 1_700_000_000_123

"""Brokers that let in only who says who they are, and over TLS: by properties of the URL."""

import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from common.values.errors import Misconfigured
from common.values.ids import SequencerId
from tests.support import kafka_server
from tests.support.buffer_records import numbers, read_all, record
from tests.support.kafka_server import KafkaServer
from writebuffer.kafka import KafkaBackend

ONE = SequencerId(0)
JAAS = "org.apache.kafka.common.security.plain.PlainLoginModule required"
USERS = 'username="broker" password="b" user_broker="b" user_penstock="hush"'
BROKER = (
    "sasl.enabled.mechanisms=PLAIN",
    "sasl.mechanism.inter.broker.protocol=PLAIN",
    f"listener.name.sasl_ssl.plain.sasl.jaas.config={JAAS} {USERS};",
    "ssl.keystore.type=PEM",
    "ssl.keystore.location=server.pem",
    "ssl.truststore.type=PEM",
    "ssl.truststore.location=certificate.pem",
)
CLIENT = {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.username": "penstock"}


def test_tls_and_a_password_let_in_who_has_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By properties of the URL, the password from the environment; the error names the one that is wrong."""
    if reason := kafka_server.why_not():
        pytest.skip(reason)
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=penstock"]
    make += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(make, check=True, capture_output=True, timeout=60)
    (tmp_path / "server.pem").write_text(key.read_text() + certificate.read_text())
    trusted = {**CLIENT, "ssl.ca.location": str(certificate)}
    server = KafkaServer(tmp_path, *BROKER, listener="SASL_SSL", client={**trusted, "sasl.password": "hush"})
    server.start()
    try:
        monkeypatch.setenv("KAFKA_PASSWORD", "hush")
        backend = opened(server, trusted, "env:KAFKA_PASSWORD")
        backend.create(1)
        writer = backend.open_writer()
        assert writer.append(ONE, record(0)).result(20).offset == 0
        writer.close()
        assert numbers(one for _, one in read_all(KafkaBackend.from_url(backend.url))) == [0]
        with ThreadPoolExecutor(2) as threads:
            wrong = threads.submit(opened(server, trusted, "wrong").open_reader)
            untrusting = threads.submit(opened(server, CLIENT, "hush").open_reader)
            errors = [future.exception(30) for future in (wrong, untrusting)]
        assert [type(error) for error in errors] == [Misconfigured] * 2
        assert "check sasl.mechanism, sasl.username and sasl.password" in str(errors[0])
        assert "check security.protocol and the ssl.* properties" in str(errors[1])
    finally:
        server.stop()


def opened(server: KafkaServer, properties: Mapping[str, str], password: str) -> KafkaBackend:
    query = "&".join(f"{name}={value}" for name, value in properties.items())
    return KafkaBackend.from_url(f"{server.url}/secure?{query}&sasl.password={password}")

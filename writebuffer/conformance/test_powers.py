"""Optional powers: what is declared is offered, what is offered is declared."""

import pytest

from writebuffer.conformance import NOT_RUN
from writebuffer.conformance.buffer import ONE, Buffer
from writebuffer.conformance.needs import needs
from writebuffer.conformance.samples import records
from writebuffer.contract import Dense, Durable, Measurable, Salvageable, SeekableByTime, Trimmable
from writebuffer.proving import Breakable, HoldsBack

POWERS: dict[type, str] = {
    Durable: "writer",
    Trimmable: "writer or reader",
    Measurable: "reader",
    Salvageable: "reader",
    SeekableByTime: "cursor",
    HoldsBack: "backend",
    Breakable: "backend",
}
"""Each with who offers it."""
PROMISES = {Dense}
"""What is declared without anybody offering it; its own tests need it."""


@pytest.mark.parametrize("power", POWERS, ids=lambda power: power.__name__)
def test_a_power_is_offered_where_it_is_declared_and_nowhere_else(buffer: Buffer, power: type) -> None:
    """`powers` names it exactly when the object that should offer it has its methods."""
    writer, reader = buffer.writer(), buffer.reader()
    objects = {"writer": writer, "reader": reader, "cursor": reader.cursor(ONE), "backend": buffer.backend}
    offered = [name for name in POWERS[power].split(" or ") if isinstance(objects[name], power)]
    if power in buffer.backend.powers:
        assert offered, (
            f"{power.__name__} is declared, but no {POWERS[power]} has its methods: add them or declare less"
        )
    else:
        assert not offered, f"the {' and the '.join(offered)} offers {power.__name__}, but `powers` does not declare it"


def test_nothing_unknown_is_declared(buffer: Buffer) -> None:
    """`powers` is a frozenset of the Protocols of contract.py and proving.py."""
    assert isinstance(buffer.backend.powers, frozenset)
    unknown = {power.__name__ for power in buffer.backend.powers - set(POWERS) - PROMISES}
    assert not unknown, f"`powers` declares {unknown}, which is no power of contract.py or proving.py"


def test_the_url_holds_no_secret_and_names_the_buffer(buffer: Buffer) -> None:
    """`url` is text for logs, and differs from that of the buffer it is beside."""
    assert isinstance(buffer.backend.url, str)
    assert buffer.backend.url != buffer.subject.provable().url


@needs(Durable)
def test_the_url_opens_the_same_buffer(buffer: Buffer) -> None:
    """A backend made from `url` reads the same records and appends after them."""
    if buffer.subject.is_secret:
        pytest.skip(f"{NOT_RUN}the URL given holds a secret, which `url` does not show")
    writer = buffer.writer()
    sent = buffer.append(writer, 3)
    writer.close()
    again = buffer.subject.backend(buffer.backend.url)
    sent += buffer.append(buffer.writer(again), 2)
    assert buffer.read_all() == sent


@needs(Measurable)
def test_size_grows_by_what_is_written(buffer: Buffer) -> None:
    """data_bytes grows by at least the bytes of the records appended, and disk_bytes is more than 0."""
    writer, reader = buffer.writer(), buffer.reader()
    assert isinstance(reader, Measurable), "declares Measurable, but its reader has no `size`"
    before = reader.size(ONE)
    sent = records(buffer.next_numbers(50), 1000)
    buffer.result(writer.append_many(ONE, sent))
    after = reader.size(ONE)
    grown = after.data_bytes - before.data_bytes
    assert grown >= sum(map(len, sent)), f"{sum(map(len, sent))} bytes were appended, data_bytes grew by {grown}"
    assert after.disk_bytes > 0

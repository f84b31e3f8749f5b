"""Compressed bodies: every cut of them inflates to the same, in slices, and a large one leaves the loop its turns."""

import asyncio
import gzip
import os
from collections.abc import AsyncIterator, Iterator

import pytest

from router.api.body import BodyReader
from router.api.inflating import SLICE_BYTES, Gzip, inflate_zstd
from router.core.admission import Admission
from tests.support.compressed import zstd
from tests.support.router import RunningRouter
from tests.support.router_fixtures import StartRouter, chunks

MIB = 1024 * 1024
BODIES = {
    "nothing": b"",
    "one-byte": b"x",
    "zeros-of-a-slice": bytes(SLICE_BYTES),
    "zeros-of-a-slice-and-one": bytes(SLICE_BYTES + 1),
    "zeros-of-ten-slices": bytes(10 * SLICE_BYTES),
    "lines": b"m,h=a f=1 1\n" * 100_000,
    "noise": os.urandom(300_000),
}


def gunzipped(parts: Iterator[bytes]) -> list[bytes]:
    decoder = Gzip()
    found = [piece for part in parts for piece in decoder.inflate(part)]
    decoder.finish()
    return found


@pytest.mark.parametrize("cut", [100, 7_000, 65_536, 10 * MIB])
@pytest.mark.parametrize("name", BODIES)
def test_gzip_cut_anywhere_is_the_same_body_in_slices(name: str, cut: int) -> None:
    """Of two members, also where more output than a slice is waiting when its input ends."""
    data = BODIES[name]
    slices = gunzipped(chunks(gzip.compress(data) + gzip.compress(b"end"), cut))
    assert b"".join(slices) == data + b"end"
    assert max(map(len, slices)) <= SLICE_BYTES


@pytest.mark.parametrize("name", BODIES)
def test_zstd_of_several_frames_is_one_body_in_slices(name: str) -> None:
    """Also with an empty frame, and one that is to be skipped, between them."""
    skippable = b"\x5a\x2a\x4d\x18\x03\x00\x00\x00abc"
    data = BODIES[name]
    slices = list(inflate_zstd(zstd(data) + zstd(b"") + skippable + zstd(b"end")))
    assert b"".join(slices) == data + b"end"
    assert max(map(len, slices)) <= SLICE_BYTES


def test_an_empty_body_that_is_marked_as_zstd_is_empty() -> None:
    """As with gzip: some clients mark every request."""
    assert list(inflate_zstd(b"")) == []


class Upload:
    """A request whose body is all there, as a BodyReader sees it."""

    client = "one"

    def __init__(self, coding: str, body: bytes) -> None:
        self.headers = {"content-encoding": coding, "content-length": str(len(body))}
        self._body = body

    async def parts(self) -> AsyncIterator[bytes]:
        for part in chunks(self._body, 65_536):
            yield part


def turns_while_reading(coding: str, body: bytes) -> tuple[bytes, int]:
    """What a BodyReader makes of `body`, and how often the loop came round meanwhile."""

    async def run() -> tuple[bytes, int]:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        read = await BodyReader(Admission(100 * MIB), 10 * MIB).read(Upload(coding, body))  # type: ignore[arg-type]
        counting.cancel()
        return read, turns

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("coding", "body", "turns"),
    [
        ("gzip", gzip.compress(bytes(10 * MIB)), 40),
        ("gzip", gzip.compress(b"") * 5_000, 5_000),
        ("zstd", zstd(bytes(10 * MIB)), 40),
        ("zstd", zstd(b"") * 500_000, 10),
    ],
    ids=["gzip", "gzip-members", "zstd", "zstd-frames"],
)
def test_a_body_that_takes_long_to_inflate_leaves_the_loop_its_turns(coding: str, body: bytes, turns: int) -> None:
    """One for each slice and each member; while frames are read in a thread, as many as there are."""
    read, found = turns_while_reading(coding, body)
    assert len(read) in (0, 10 * MIB)
    assert found >= turns


def test_a_write_in_zstd_is_stored(router: RunningRouter) -> None:
    """With a length and in small chunks."""
    body = zstd(b"m f=1 1\nm f") + zstd(b"=2 2\n")
    for sent in (body, chunks(body, 3)):
        assert router.write(sent, headers={"Content-Encoding": "zstd"})[0].status == 204
    assert [row["f"] for row in router.rows("ns", "m")] == [1.0, 1.0, 2.0, 2.0]
    assert router.admission.bytes_held == 0


def test_a_zstd_bomb_costs_the_limit_and_a_slice(start_router: StartRouter) -> None:
    """Megabytes without end in a few kilobytes are 413, and the slices after the limit are never made."""
    router = start_router(body_bytes_max=MIB)
    response, _ = router.write(zstd(bytes(200 * MIB)), headers={"Content-Encoding": "zstd"})
    assert response.status == 413
    assert router.admission.bytes_held == 0

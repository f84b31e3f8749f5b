"""How many sequencers a stored buffer has: a number that somebody else may have written, checked before it is used."""

import json
import tracemalloc
from pathlib import Path

import pytest

from common.values.errors import DataCorrupt, Misconfigured
from writebuffer.checks import SEQUENCERS_MAX
from writebuffer.file import FileBackend
from writebuffer.memory import MemoryBackend
from writebuffer.redis import RedisBackend

WRONG = [0, -1, SEQUENCERS_MAX + 1, 10**9, 2.0, "4", True, None, [4]]


@pytest.mark.parametrize("sequencers", WRONG)
def test_a_stored_number_that_cannot_be_is_corrupt(tmp_path: Path, sequencers: object) -> None:
    """Named, before anything is made for each sequencer."""
    backend = FileBackend(f"{tmp_path}/log")
    backend.create(2)
    file = tmp_path / "log" / "buffer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"sequencers": sequencers}))
    for act in (backend.open_reader, backend.open_writer, lambda: backend.create(2)):
        with pytest.raises(DataCorrupt, match="sequencers is"):
            act()


@pytest.mark.parametrize("sequencers", WRONG)
def test_so_it_is_in_redis(sequencers: object) -> None:
    """The key of the buffer holds the same number."""
    backend = RedisBackend.from_url("redis://127.0.0.1:1/0")
    with pytest.raises(DataCorrupt, match="sequencers is"):
        backend._parse(json.dumps({"format": 1, "sequencers": sequencers}).encode())


def test_a_huge_buffer_json_is_not_read_whole(tmp_path: Path) -> None:
    """What is longer than any buffer.json is none; only its beginning is read."""
    FileBackend(f"{tmp_path}/log").create(2)
    with (tmp_path / "log" / "buffer.json").open("r+b") as file:
        file.truncate(2**30)
    tracemalloc.start()
    try:
        with pytest.raises(DataCorrupt, match=r"not a buffer\.json"):
            FileBackend(f"{tmp_path}/log").open_reader()
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("sequencers", [0, -1, SEQUENCERS_MAX + 1])
def test_no_buffer_is_made_with_a_number_that_is_refused_later(sequencers: int) -> None:
    """The same limits hold for `create`."""
    with pytest.raises(Misconfigured, match="1 to 999"):
        MemoryBackend().create(sequencers)

"""URL → backend: each form leads to its backend, and a wrong one to a message that lists the right ones."""

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from common.errors import Misconfigured
from common.objectstore import open_store
from writebuffer import connect as module
from writebuffer.connect import connect
from writebuffer.errors import BufferNotFound, SequencersDiffer
from writebuffer.file import FileBackend
from writebuffer.memory import MemoryBackend


def test_a_memory_url_with_a_name_is_one_buffer_in_the_process() -> None:
    """The name is shared; without one every call makes another."""
    assert connect("memory:shared") is connect("memory:shared")
    assert connect("memory:shared") is not connect("memory:other")
    assert connect("memory:") is not connect("memory:")
    assert isinstance(connect("memory:"), MemoryBackend)


@pytest.mark.parametrize("name", ["log", "a b", "50%", "a%20b", "a#b", "a?b=1", "ä"])
def test_a_file_url_names_an_absolute_folder_letter_by_letter(tmp_path: Path, name: str) -> None:
    """Log and object store beside each other are in one folder, whatever its name; a backend's own URL leads back."""
    backend = connect(f"file://{tmp_path}/{name}/")
    assert isinstance(backend, FileBackend)
    backend.create(1)
    assert (tmp_path / name / "buffer.json").exists()
    assert open_store(f"file://{tmp_path}/{name}/").get("buffer.json")
    again = connect(backend.url)
    again.create(1)
    with pytest.raises(SequencersDiffer, match="made with 1 sequencers, asked for 2"):
        again.create(2)


def test_nothing_is_made_by_connecting(tmp_path: Path) -> None:
    """Opening what does not exist says how to make it."""
    backend = connect(f"file://{tmp_path}/log")
    for open_one in (backend.open_reader, backend.open_writer):
        with pytest.raises(BufferNotFound, match="create"):
            open_one()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        *("", "/var/log", "log", "memory", "memory://x", "file:", "file:/x", "file://host/x", "file://x", "file:///"),
        *("file://", "kafkaesque://host/topic"),
    ],
)
def test_a_wrong_url_is_refused_with_the_right_forms(url: str) -> None:
    """The message names the URL, what is wrong with it, and what there is."""
    with pytest.raises(Misconfigured, match="it is one of: memory:, memory:NAME, file:///absolute/path") as refused:
        connect(url)
    assert repr(url) in str(refused.value)


def test_other_schemes_come_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that registers a scheme gets the whole URL."""
    registered = EntryPoint("mine", "writebuffer.memory:MemoryBackend", module.ENTRY_POINT_GROUP)
    monkeypatch.setattr(module, "entry_points", lambda **chosen: EntryPoints([registered]).select(**chosen))
    assert connect("mine://host/x").url == "mine://host/x"
    with pytest.raises(Misconfigured, match="mine:"):
        connect("yours://host/x")

"""URL → backend: each form leads to its backend, and a wrong one to a message that lists the right ones."""

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from common.store.opening import open_store
from common.values.errors import Misconfigured
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
    """Log and object store next to each other are in one folder of any name; a backend's own URL leads back."""
    (tmp_path / name).mkdir()
    backend = connect(f"file://{tmp_path}/{name}/")
    assert isinstance(backend, FileBackend)
    backend.create(1)
    assert (tmp_path / name / "buffer.json").exists()
    assert open_store(f"file://{tmp_path}/{name}/").get("buffer.json")
    again = connect(backend.url)
    again.create(1)
    with pytest.raises(SequencersDiffer, match="made with 1 sequencer, asked for 2"):
        again.create(2)


@pytest.mark.parametrize("rest", ["?segment_bytes=5", "?", "#x", "/sub?x=1", "#/log"])
def test_an_option_of_a_file_url_is_refused_and_no_folders_name(tmp_path: Path, rest: str) -> None:
    """There are none, and a folder of that name would hold the log next to the intended one; the form is named."""
    with pytest.raises(Misconfigured, match="a file buffer takes no options") as refused:
        connect(f"file://{tmp_path}/log{rest}")
    meant = f"file://{tmp_path}/log" + ("/sub" if rest.startswith("/sub") else "")
    assert f"; the right form is {meant}. A folder that is really called so" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_has_a_sign_in_its_name_is_used_with_all_below_it(tmp_path: Path) -> None:
    """Only what is yet to be made is doubted."""
    (tmp_path / "c#").mkdir()
    connect(f"file://{tmp_path}/c#/data/log").create(1)
    assert (tmp_path / "c#/data/log/buffer.json").exists()
    with pytest.raises(Misconfigured, match="takes no options"):
        connect(f"file://{tmp_path}/c#/other?x")


def test_nothing_is_made_by_connecting(tmp_path: Path) -> None:
    """Opening what does not exist says how to make it."""
    backend = connect(f"file://{tmp_path}/log")
    for open_one in (backend.open_reader, backend.open_writer):
        with pytest.raises(BufferNotFound, match="create"):
            open_one()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["", "log", "./log", "memory", "redis", "kafkaesque://host/topic", "s3://bucket/x", "localhost:9092/topic"]
)
def test_a_url_that_could_mean_anything_is_refused_with_all_forms(url: str) -> None:
    """The message names the URL, what is wrong with it, and what there is."""
    with pytest.raises(Misconfigured, match="it is one of: memory:, memory:NAME, file:///absolute/path") as refused:
        connect(url)
    assert repr(url) in str(refused.value)


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("/var/log", "file:///var/log"),
        ("file:", "file:///absolute/path"),
        ("file:/x", "file:///x"),
        ("file:x", "file:///absolute/path"),
        ("file://", "file:///absolute/path"),
        ("file:///", "file:///absolute/path"),
        ("file://relative", "file:///absolute/path"),
        ("file://host/x", "file:///absolute/path"),
        (" file:///x", "file:///x"),
        ("file:///x\n", "file:///x"),
        ("FILE:///X", "file:///X"),
        ("memory://x", "memory:NAME"),
        ("redis:", "redis://host:6379/0"),
        ("redis:/host", "redis://host"),
        ("redis:6379/1", "redis://redis:6379/1"),
        ("Redis://host/0", "redis://host/0"),
        ("kafka:9092/topic", "kafka://kafka:9092/topic"),
        ("kafka:/host:9092/topic", "kafka://host:9092/topic"),
        ("kafak://host:9092/topic", "kafka://host:9092/topic"),
    ],
)
def test_a_half_right_url_is_answered_with_the_right_form(url: str, form: str) -> None:
    """What was meant is at the message's end, ready to be copied."""
    with pytest.raises(Misconfigured) as refused:
        connect(url)
    assert str(refused.value).endswith(f"; the right form is {form}")
    assert repr(url) in str(refused.value)
    assert refused.value.form == form


def test_a_message_holds_no_password() -> None:
    """Neither in the URL that was given nor in the form it should have."""
    with pytest.raises(Misconfigured) as refused:
        connect("Redis://me:hunter2@host/0")
    assert "hunter2" not in f"{refused.value}{refused.value.details}"
    assert "redis://me:***@host/0" in str(refused.value)


def test_a_memory_buffer_takes_its_options_from_the_url() -> None:
    """The first to name it decides; naming it again without options is the same buffer, with others a mistake."""
    backend = connect("memory:small?capacity_bytes=5000&retention_s=1.5")
    assert isinstance(backend, MemoryBackend)
    assert (backend.options.capacity_bytes, backend.options.retention_s) == (5000, 1.5)
    assert connect("memory:small") is backend
    assert connect(backend.url) is backend
    with pytest.raises(Misconfigured, match=r"has 'memory:small\?capacity_bytes=5000&retention_s=1.5' already"):
        connect("memory:small?capacity_bytes=6000")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("size=5", "unknown option 'size'; there are capacity_bytes, retention_bytes"),
        ("capacity_bytes=big", "capacity_bytes: 'big' is not a whole number"),
        ("latency_s=", "latency_s: '' is not a number of seconds"),
        ("retention_s=nan", "retention_s is nan: give more than 0"),
    ],
)
def test_a_wrong_option_of_a_memory_buffer_is_named(query: str, message: str) -> None:
    """With its URL."""
    with pytest.raises(Misconfigured, match=message) as refused:
        connect(f"memory:?{query}")
    assert repr(f"memory:?{query}") in str(refused.value)


def test_other_schemes_come_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that registers a scheme gets the whole URL."""
    registered = EntryPoint("mine", "writebuffer.memory:MemoryBackend", module.ENTRY_POINT_GROUP)
    monkeypatch.setattr(module, "entry_points", lambda **chosen: EntryPoints([registered]).select(**chosen))
    assert connect("mine://host/x").url == "mine://host/x"
    with pytest.raises(Misconfigured, match="mine:"):
        connect("yours://host/x")

"""What a power cut may leave of files and folders: each unsynced change is a choice of its own.

- A sector (512 bytes) of a file holds its synced content or any it had since: writes are lost, torn and reordered by
  the sector, and never within one.
- A file's size is its synced one or any it had since; what was never written below it is zeros.
- A name made, moved or removed in a folder since its sync is so or is not, each by itself; a rename within a folder is
  one change, across folders two.
- After a failed sync the sectors it was to write hold any of these for ever, also after later syncs, until they are
  written again: Linux counts them as clean.

An Image is all of that at one instant; `Image.left` builds the tree that one outcome leaves.
"""

import copy
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

SECTOR_BYTES = 512
_SIZE = -1
"""The key of the choice of a file's size, in addition to those of its sectors."""


@dataclass
class Content:
    """A file without its name. sectors, sizes: what each was made since its last sync, oldest first."""

    now: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    sectors: dict[int, list[bytes]] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    stuck: set[int] = field(default_factory=set)
    """Sectors that a failed sync left."""

    def write(self, position: int, data: bytes) -> None:
        if not data:
            return
        end = position + len(data)
        if end > len(self.now):
            self._resize(end)
        self.now[position:end] = data
        self._changed(position, end)

    def resize(self, length: int) -> None:
        if length < len(self.now):
            end = length + len(bytes(self.now[length:]).rstrip(b"\0"))
            self.now[length:end] = bytes(end - length)
            self._changed(length, end)
        self._resize(length)

    def sync(self) -> None:
        _set_size(self.durable, self.sizes[-1] if self.sizes else len(self.durable))
        for sector in [sector for sector in self.sectors if sector not in self.stuck]:
            _put(self.durable, sector, self.sectors.pop(sector)[-1])
        self.sizes.clear()

    def sync_failed(self) -> None:
        self.stuck.update(self.sectors)

    def left(self, versions: dict[int, int]) -> "Content":
        """versions: of each choice, by its key; 0 is the synced one."""
        kept = bytearray(self.durable)
        if version := versions[_SIZE]:
            _set_size(kept, self.sizes[version - 1])
        for sector, contents in self.sectors.items():
            if version := versions[sector]:
                _put(kept, sector, contents[version - 1])
        return Content(bytearray(kept), kept)

    def choices(self) -> Iterator[tuple[int, int, str]]:
        """The key, the number of versions and the name of each choice."""
        yield _SIZE, 1 + len(self.sizes), "size"
        for sector, contents in sorted(self.sectors.items()):
            yield sector, 1 + len(contents), f"sector {sector}"

    def _resize(self, length: int) -> None:
        if length != len(self.now):
            _set_size(self.now, length)
            self.sizes.append(length)

    def _changed(self, start: int, end: int) -> None:
        for sector in range(start // SECTOR_BYTES, -(-end // SECTOR_BYTES)):
            at = sector * SECTOR_BYTES
            self.sectors.setdefault(sector, []).append(
                bytes(self.now[at : at + SECTOR_BYTES]).ljust(SECTOR_BYTES, b"\0")
            )
            self.stuck.discard(sector)


@dataclass
class Act:
    """One change of a folder: `node` is no longer called `gone`, and is called `new`."""

    node: "Node"
    gone: str | None = None
    new: str | None = None

    def apply(self, names: "dict[str, Node]") -> None:
        if self.gone is not None and names.get(self.gone) is self.node:
            del names[self.gone]
        if self.new is not None:
            names[self.new] = self.node


@dataclass
class Folder:
    """Names, of files and folders. acts: since its last sync, in order."""

    now: "dict[str, Node]" = field(default_factory=dict)
    durable: "dict[str, Node]" = field(default_factory=dict)
    acts: list[Act] = field(default_factory=list)

    def change(self, act: Act) -> None:
        act.apply(self.now)
        self.acts.append(act)

    def sync(self) -> None:
        self.durable = dict(self.now)
        self.acts.clear()

    def reachable(self) -> "list[tuple[str, Node]]":
        """Everything that has a name here, or may have one after a crash."""
        named = list(self.durable.items())
        return named + [(act.new, act.node) for act in self.acts if act.new is not None]

    def choices(self) -> Iterator[tuple[int, int, str]]:
        for number, act in enumerate(self.acts):
            yield number, 2, f"{act.gone or ''} -> {act.new or ''}"


Node = Content | Folder


@dataclass(frozen=True)
class Choice:
    """One thing that may have `versions` outcomes, 0 the oldest. `thing`: the file or folder it belongs to."""

    node: Node
    key: int
    versions: int
    thing: str
    what: str


Versions = Sequence[int]
"""The outcome of each of an image's choices, in their order."""


class Image:
    """A disk at one instant, with what is synced and what is not. Independent of the disk it was taken from."""

    def __init__(self, root: Folder) -> None:
        self._root = copy.deepcopy(root)
        self.choices = [
            Choice(node, key, versions, thing, what)
            for thing, node in _nodes(self._root)
            for key, versions, what in node.choices()
            if versions > 1
        ]

    def left(self, versions: Versions) -> Folder:
        """The tree after a power cut with that outcome."""
        chosen = {(id(choice.node), choice.key): one for choice, one in zip(self.choices, versions, strict=True)}
        return _Left(chosen).folder(self._root)

    def still_running(self) -> Folder:
        """The tree as it is when the process alone dies: nothing is lost, and nothing more is synced."""
        return copy.deepcopy(self._root)

    def drawn(self, rng: random.Random) -> Versions:
        """An outcome by chance, in which much is all kept or all lost."""
        fates = {choice.thing: rng.choice(("kept", "lost", "torn")) for choice in self.choices}
        fixed = {"kept": lambda choice: choice.versions - 1, "lost": lambda choice: 0}
        return [fixed.get(fates[one.thing], lambda choice: rng.randrange(choice.versions))(one) for one in self.choices]

    def lost_or_old(self, versions: Versions) -> str:
        """What is lost or old in that outcome, for a message."""
        pairs = [(choice, one) for choice, one in zip(self.choices, versions, strict=True) if one < choice.versions - 1]
        return "; ".join(f"{one.thing} {one.what}: {at} of {one.versions - 1}" for one, at in pairs) or "nothing lost"


class _Left:
    """Builds what is left; a file with two names stays one file."""

    def __init__(self, chosen: dict[tuple[int, int], int]) -> None:
        self._chosen = chosen
        self._contents: dict[int, Content] = {}

    def folder(self, folder: Folder) -> Folder:
        names = dict(folder.durable)
        for number, act in enumerate(folder.acts):
            if self._chosen[id(folder), number]:
                act.apply(names)
        kept = {
            name: self.folder(node) if isinstance(node, Folder) else self._content(node) for name, node in names.items()
        }
        return Folder(kept, dict(kept))

    def _content(self, content: Content) -> Content:
        if id(content) not in self._contents:
            versions = {key: self._chosen.get((id(content), key), 0) for key in (_SIZE, *content.sectors)}
            self._contents[id(content)] = content.left(versions)
        return self._contents[id(content)]


def files(root: Folder, path: str = "") -> Iterator[tuple[str, Content | None]]:
    """Every file as the running system sees it, by path; None for a folder."""
    for name, node in sorted(root.now.items()):
        if isinstance(node, Folder):
            yield f"{path}/{name}", None
            yield from files(node, f"{path}/{name}")
        else:
            yield f"{path}/{name}", node


def _nodes(root: Folder) -> list[tuple[str, Node]]:
    """All nodes, each once, with a name for messages."""
    found: dict[int, tuple[str, Node]] = {}
    waiting: list[tuple[str, Node]] = [("", root)]
    while waiting:
        path, node = waiting.pop()
        if id(node) in found:
            continue
        found[id(node)] = (path or "/", node)
        if isinstance(node, Folder):
            waiting += [(f"{path}/{name}", below) for name, below in node.reachable()]
    return sorted(found.values(), key=lambda pair: pair[0])


def _put(content: bytearray, sector: int, data: bytes) -> None:
    """Write the part of a sector that is below the file's end."""
    at = sector * SECTOR_BYTES
    length = max(0, min(SECTOR_BYTES, len(content) - at))
    content[at : at + length] = data[:length]


def _set_size(content: bytearray, length: int) -> None:
    if length < len(content):
        del content[length:]
    else:
        content.extend(bytes(length - len(content)))

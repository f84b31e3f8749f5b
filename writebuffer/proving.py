"""What a backend offers beside the contract so that the conformance suite can run on it.

Only proofs use this; routers and ingesters never do. docs/write-a-backend.md walks through one.
"""

from typing import Protocol, runtime_checkable

from writebuffer.contract import Backend, Writer


@runtime_checkable
class Provable(Backend, Protocol):
    """A backend that can make buffers for a proof, and remove them again."""

    def beside(self, name: str) -> "Provable":
        """Another buffer at the same place, named after this one and `name`; nothing is made yet.

        Where it is Durable, the same name gives the same buffer in every process; so does its `url`, which lacks only
        a password. It may differ in size from what serves in production (smaller segments, say), so that a proof of a
        few megabytes meets every edge, and may offer the hooks below.
        """
        ...

    def delete(self) -> None:
        """Remove the buffer and all its records, as an operator would; fine when there is none."""
        ...


@runtime_checkable
class HoldsBack(Protocol):
    """A backend whose durability can be held back, of all writers opened through this object."""

    def hold(self) -> None:
        """From now on nothing that is appended becomes durable."""
        ...

    def await_held(self, timeout_s: float) -> None:
        """Return once the first record appended since is as far as it gets without being durable. Raises Unavailable.

        What a broken backend shows or acknowledges too early is there to be seen by then, without waiting for it.
        """
        ...

    def release(self) -> None:
        """What was held back becomes durable now; hold nothing any more."""
        ...


@runtime_checkable
class Breakable(Protocol):
    """A backend whose writers' own threads can be made to die.

    There is no such hook for readers: no backend of ours has a thread for one, its polls run on their caller's thread
    and raise there what they meet. A backend whose readers have a thread has to show besides that a poll ends with it.
    """

    def break_writer(self, writer: Writer, cause: Exception) -> None:
        """The thread of `writer` (opened through this object) dies of `cause` at its next step.

        Where the backend also HoldsBack: before it acknowledges anything of what is held back.
        """
        ...

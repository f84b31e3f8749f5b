"""What is to be proven: a write buffer's URL, and how to open it."""

import importlib
import inspect
import os
import sys
import traceback
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import cast

from common.values.errors import Misconfigured, PenstockError
from common.values.urls import redacted
from writebuffer.connect import connect
from writebuffer.contract import Backend
from writebuffer.proving import Provable

_PARTS = ("url", "powers", "create", "open_writer", "open_reader", "beside", "delete")


@dataclass(frozen=True, slots=True)
class Subject:
    """A URL, and `module:callable` that makes its backend; without the latter the URL's scheme is an installed one."""

    url: str = field(repr=False)
    """As it was given, with its password."""
    factory: str | None = None

    def __str__(self) -> str:
        return redacted(self.url)

    @property
    def is_secret(self) -> bool:
        """Whether the URL holds what must not be shown; without it a backend's `url` cannot open the same again."""
        return str(self) != self.url

    def backend(self, url: str | None = None) -> Backend:
        """The backend of `url`, else of the subject's own. Raises what `connect` raises, and Misconfigured."""
        url = url or self.url
        return _called(self.factory, url) if self.factory else connect(url)

    def provable(self) -> Provable:
        """Raises Misconfigured, naming what the backend lacks."""
        with self._named():
            backend = self.backend()
        missing = [part for part in _PARTS if not hasattr(backend, part)]
        if missing:
            kind = f"{type(backend).__module__}.{type(backend).__qualname__}"
            what = "is no backend" if len(missing) == len(_PARTS) else "cannot be proven"
            raise Misconfigured(
                f"{self}: {kind} {what}, it lacks {', '.join(f'`{part}`' for part in missing)}; "
                "writebuffer/proving.py says what each has to do, docs/write-a-backend.md shows one",
                missing=missing,
            )
        return cast(Provable, backend)

    def beside(self, name: str) -> Provable:
        """The buffer of that name for a proof: the same one in every process, where it is Durable."""
        return self.provable().beside(name)

    def powers(self) -> frozenset[type]:
        """What its buffers for proofs declare. Makes and deletes one. Raises why it cannot."""
        with self._named():
            backend = self.beside(f"probe-{uuid.uuid4().hex[:12]}")
            try:
                backend.create(1)
            finally:
                backend.delete()
        return backend.powers

    @contextmanager
    def _named(self) -> Iterator[None]:
        """What a backend under development raises before there is anything to prove, as an error with a place."""
        try:
            yield
        except PenstockError:
            raise
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            raise Misconfigured(
                f"{self}: cannot be made: {type(error).__name__}: {error} ({where.filename}, line {where.lineno})"
            ) from error

    def arguments(self) -> list[str]:
        """For a process of its own that is to open the same (child.py)."""
        return ["--backend", self.factory] if self.factory else []


def _called(factory: str, url: str) -> Backend:
    """Raises Misconfigured where it cannot be called with a URL, and what the call raises."""
    found = _load(factory)
    form = "give module:callable, which is called with the URL and returns the backend"
    if not callable(found):
        what = "a module" if inspect.ismodule(found) else f"of type {type(found).__name__}"
        raise Misconfigured(f"--backend {factory!r}: it is {what}, which cannot be called; {form}")
    with suppress(ValueError):  # a builtin may have no signature
        try:
            inspect.signature(found).bind(url)
        except TypeError as error:
            raise Misconfigured(
                f"--backend {factory!r}: cannot be called with the URL alone ({error}); {form}"
            ) from error
    return cast(Backend, found(url))


def _load(factory: str) -> object:
    module, colon, name = factory.partition(":")
    if not colon or not module or not name:
        raise Misconfigured(f"--backend {factory!r}: give module:callable, such as my_package.my_buffer:from_url")
    here = os.getcwd()  # noqa: PTH109  sys.path holds str
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise Misconfigured(f"--backend {factory!r}: {error}") from error

"""obstore's errors as penstock's: "nothing there" and "exists already" have their own, all else is Unavailable."""

from typing import Any

import obstore
import pytest
from obstore.exceptions import (
    AlreadyExistsError,
    GenericError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
)

from common.store.cloud import CloudStore
from common.store.objects import AlreadyExists, NotFound
from common.values.errors import InvalidRequest, PenstockError, Unavailable

CALLS: dict[str, Any] = {
    "put": lambda store: store.put("a/b", b"1"),
    "put_if_absent": lambda store: store.put_if_absent("a/b", b"1"),
    "get": lambda store: store.get("a/b"),
    "delete": lambda store: store.delete("a/b"),
    "list": lambda store: list(store.list("a/b")),
}


def fail(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def raising(*_: Any, **__: Any) -> Any:
        raise error

    for name in ("put", "get", "list", "delete"):
        monkeypatch.setattr(obstore, name, raising)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "error", [GenericError("timed out"), PermissionDeniedError("no"), PreconditionError("no"), OSError(5, "broken")]
)
def test_an_error_whose_outcome_is_open_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, call: str, error: Exception
) -> None:
    """A store's errors differ between services; a write that raised one may still have happened."""
    fail(monkeypatch, error)
    with pytest.raises(Unavailable, match=r"^object store: a/b: ") as failed:
        CALLS[call](CloudStore("memory:"))
    assert failed.value.written == ("no" if call in ("get", "list") else "unknown")
    assert failed.value.path == "a/b"


@pytest.mark.parametrize(
    ("call", "error", "expected"),
    [
        ("get", NotFoundError("x"), NotFound),
        ("get", FileNotFoundError("x"), NotFound),
        ("put_if_absent", AlreadyExistsError("x"), AlreadyExists),
    ],
)
def test_the_two_answers_that_decide_are_distinguished(
    monkeypatch: pytest.MonkeyPatch, call: str, error: Exception, expected: type[PenstockError]
) -> None:
    """Nothing there, and something there: InvalidRequest each, not a reason to try again."""
    fail(monkeypatch, error)
    with pytest.raises(expected) as answered:
        CALLS[call](CloudStore("memory:"))
    assert isinstance(answered.value, InvalidRequest)


@pytest.mark.parametrize("error", [NotFoundError("x"), FileNotFoundError("x")])
def test_deleting_nothing_is_fine(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """S3 says nothing there, others raise: delete is the same over both."""
    fail(monkeypatch, error)
    CloudStore("memory:").delete("a/b")


def test_a_cloud_object_has_no_local_path() -> None:
    """Readers that take files must ask the store for bytes."""
    assert CloudStore("memory:").local_path("a/b") is None

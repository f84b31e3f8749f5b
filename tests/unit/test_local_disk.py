"""The real disk: what it syncs when it makes folders."""

from pathlib import Path

import pytest

from common.store.disk import LocalDisk


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that were synced, in order."""
    found: list[str] = []
    real = LocalDisk.sync_folder

    def sync_folder(self: LocalDisk, path: str) -> None:
        found.append(path)
        real(self, path)

    monkeypatch.setattr(LocalDisk, "sync_folder", sync_folder)
    return found


def test_each_folder_is_synced_into_the_one_above_it(tmp_path: Path, synced: list[str]) -> None:
    """From the top down, and the deepest that already exists first: its maker may have been killed before it did."""
    (tmp_path / "a").mkdir()
    LocalDisk().make_folder(str(tmp_path / "a/b/c"))
    assert (tmp_path / "a/b/c").is_dir()
    assert synced == [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a/b")]


def test_an_existing_folder_is_synced_into_the_one_above_it(tmp_path: Path, synced: list[str]) -> None:
    """Nothing is made, and yet it is durable at the return."""
    LocalDisk().make_folder(str(tmp_path))
    assert synced == [str(tmp_path.parent)]


def test_a_folder_above_that_may_not_be_read_is_somebody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data folder given to this user in a place that it may not look into is no obstacle."""

    def refused(self: LocalDisk, path: str) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(LocalDisk, "sync_folder", refused)
    LocalDisk().make_folder(str(tmp_path))

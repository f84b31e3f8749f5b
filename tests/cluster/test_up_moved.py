"""A real `penstock up` whose folders are moved away: nothing is founded in their place, and nothing is called done."""

import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.store.opening import open_store
from penstock.query.query import query
from tests.support.up_process import Up
from tests.support.wait import wait_until


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    started = Up(tmp_path)
    yield started
    started.end()


def write(url: str, value: int) -> int:
    """The status; 0 where nobody answers."""
    request = urllib.request.Request(f"{url}/api/v2/write?bucket=b", f"m f={value} {value}".encode(), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=40) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


def test_a_data_folder_that_is_moved_away_is_not_made_again(up: Up) -> None:
    """Its processes end and start again; none founds another cluster there, and with the folder all goes on."""
    url = up.wait_ready()
    assert write(url, 1) == 204
    away = up.data.with_name("away")
    up.data.rename(away)
    acknowledged = []
    wait_until(lambda: up.log.read_text().count("there is no cluster.json"), holds=lambda seen: seen >= 2, timeout_s=60)
    for value in range(2, 12):
        acknowledged += [value] if write(url, value) == 204 else []
        time.sleep(0.1)
    assert acknowledged == []
    assert not up.data.exists()
    away.rename(up.data)
    wait_until(lambda: write(url, 20), holds=lambda status: status == 204, timeout_s=90)
    rows = query("SELECT f FROM m ORDER BY 1", "b", open_store(f"file://{up.data}/store"), 1, timeout_s=60)
    assert rows.column("f").to_pylist() == [1, 20]


@pytest.mark.parametrize(
    ("rows", "said"), [(1, "1 row left in the log"), (0, "stopped while its object store is away")]
)
def test_stopping_after_the_store_was_deleted_is_no_success(rows: int, said: str, up: Up) -> None:
    """Exit code 3, with what stays in the log, and no new store."""
    url = up.wait_ready()
    if rows:
        assert write(url, 1) == 204
        store = open_store(f"file://{up.data}/store")
        wait_until(lambda: query("SELECT f FROM m", "b", store, 1, timeout_s=60).num_rows, what="the row is applied")
    (up.data / "store").rename(up.data / "away")
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(30) == 3
    assert said in up.log.read_text()
    assert "how much is in the store cannot be said now: object store" in up.log.read_text().splitlines()[-1]
    assert not (up.data / "store").exists()

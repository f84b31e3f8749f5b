"""Rows taken from the log, which the manifest counts apart from its accounts: where the count begins, and begins again.

That it is right at every commit of every history is checked by tests/support/ingester_rig.py.
"""

import json

import pytest

from common.catalog.manifest import manifest
from common.catalog.manifest.change import AsOf
from common.catalog.manifest.envelope import sealed
from common.store.objects import run
from ingester.core.events import Tick
from tests.support.ingester_rig import SEQUENCER, IngesterRig, a_rig, cpu
from tests.support.records import DAY0_NS, row


def without_count(rig: IngesterRig) -> None:
    """As an earlier release wrote it: no record says how many rows were taken."""
    for path in [path for path in rig.store.objects if path.startswith("manifest/")]:
        values = json.loads(rig.store.objects[path])["record"]
        assert values.pop("taken", None) is not None
        rig.store.put(path, sealed(values))


def partly_persisted() -> IngesterRig:
    """Two records of two tables; only the later one's rows are persisted."""
    rig = a_rig()
    rig.append({"cpu": [row(DAY0_NS, "a", v=1.0), row(DAY0_NS + 1, "a", v=1.0)]})
    rig.append({"mem": [row(DAY0_NS, "a", v=1.0)]})
    rig.poll()
    rig.tick(301)
    rig.persist([job.key.table for job in rig.persists].index("mem"))
    rig.commit()
    return rig


def taken(rig: IngesterRig) -> int | None:
    return run(manifest.load(SEQUENCER), rig.store).as_of.rows_taken


def test_a_new_manifest_counts_from_its_first_record_on() -> None:
    """Rows of repeated and unreadable records, too, as far as their entries say."""
    rig = a_rig()
    assert taken(rig) == 0
    rig.append(cpu(0))
    rig.again(0)
    rig.append(cpu(1), bad=True)
    rig.poll()
    rig.dead_letter()
    rig.go_cold()
    assert taken(rig) == 3


def test_rows_above_the_replay_offset_are_not_taken_yet() -> None:
    """Although they are stored: they are ahead."""
    rig = partly_persisted()
    assert (taken(rig), rig.core.state.rows_ahead, rig.core.state.stores_ahead) == (0, 1, True)
    rig.go_cold()
    assert (taken(rig), rig.core.state.rows_ahead, rig.core.state.stores_ahead) == (3, 0, False)


def test_a_manifest_of_an_earlier_release_is_counted_from_where_nothing_is_ahead() -> None:
    """Before that it is not known; afterwards it is checked as any."""
    rig = partly_persisted()
    without_count(rig)
    assert taken(rig) is None
    rig.restart()
    assert taken(rig) is None
    rig.checks_rows_taken = False
    rig.poll()
    rig.append(cpu(9))
    rig.poll(1)
    rig.go_cold()
    assert taken(rig) == 4
    rig.checks_rows_taken = True
    rig.append(cpu(10))
    rig.poll()
    rig.go_cold()
    assert taken(rig) == 5


def test_a_record_says_it_in_a_key_that_earlier_releases_do_not_read() -> None:
    """Its absence is no error; null says that it is not known."""
    values = AsOf(rows_taken=7).to_json()
    assert values["taken"] == 7
    del values["taken"]
    assert AsOf.from_json(values).rows_taken is None
    assert AsOf.from_json(AsOf(rows_taken=None).to_json()).rows_taken is None


@pytest.mark.parametrize("difference", [1, -1])
def test_a_row_that_is_lost_or_counted_twice_is_seen_while_it_runs(difference: int) -> None:
    """At the next tick, by the counts of rows applied, settled and in memory; after a restart, too."""
    rig = partly_persisted()
    rig.restart()
    rig.poll()
    rig.tick()
    assert rig.core.counters.rows_unaccounted == 0
    rig.core.counters.rows_applied += difference
    rig.core.step(Tick(rig.now_ns))
    assert rig.core.counters.rows_unaccounted == difference

"""The ingester's core under any events: rows and accounts hold after every step."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from common.values.schema import DAY_NS
from tests.support.ingester_rig import RULES, IngesterRig
from tests.support.records import DAY0_NS, Row, row

tables = st.dictionaries(
    st.sampled_from(["cpu", "mem"]),
    st.lists(
        st.builds(
            lambda day, at, host, fields: Row(DAY0_NS + day * DAY_NS + at, {"host": host} if host else {}, fields),
            st.integers(0, 1),
            st.integers(0, 2),
            st.sampled_from(["a", "b", ""]),
            st.dictionaries(st.sampled_from(["v", "w"]), st.sampled_from([1.0, 2.0, 3.0]), min_size=1),
        ),
        min_size=1,
        max_size=4,
    ),
    min_size=1,
)
events = st.lists(
    st.one_of(
        st.tuples(st.just("append"), tables),
        st.tuples(st.just("other type"), st.just({"cpu": [row(DAY0_NS, "a", v=7)], "mem": [row(DAY0_NS, w=1.0)]})),
        st.tuples(st.just("poison"), tables),
        st.tuples(st.just("again"), st.integers(0, 30)),
        st.tuples(st.just("poll"), st.integers(1, 3)),
        st.tuples(st.just("tick"), st.sampled_from([1, 100, 301])),
        st.tuples(st.just("persist"), st.integers(0, 3)),
        st.tuples(st.just("persist fails"), st.sampled_from(["before", "after"])),
        st.tuples(st.just("commit"), st.just(0)),
        st.tuples(st.just("commit fails"), st.sampled_from(["before", "after"])),
        st.tuples(st.just("letter"), st.booleans()),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=40,
)


def act(rig: IngesterRig, kind: str, value: object) -> None:
    """One event, where it can happen now."""
    match kind, value:
        case "append" | "other type", dict():
            rig.append(value)
        case "poison", dict():
            rig.append(value, bad=True)
        case "again", int() if rig.log:
            rig.again(rig.log[value % len(rig.log)].record.offset)
        case "poll", int():
            rig.poll(value)
        case "tick", int():
            rig.tick(value)
        case "persist", int() if rig.persists:
            rig.persist(value % len(rig.persists))
        case "persist fails", str() if rig.persists:
            rig.store.fail("data/", value)
            rig.persist()
        case "commit", _ if rig.commits:
            rig.commit()
        case "commit fails", str() if rig.commits:
            rig.store.fail("manifest/", value, times=5 if value == "before" else 1)
            rig.commit()
        case "letter", bool() if rig.letters:
            rig.dead_letter(fails=value)
        case "restart", _:
            rig.restart()


@settings(max_examples=150)
@given(events, st.sampled_from([10**9, 3000]), st.sampled_from([1, 4]))
def test_accounts_and_rows_hold_after_any_events(
    drawn: list[tuple[str, object]], soft_memory_bytes: int, jobs_max: int
) -> None:
    """Rows applied = stored + overwritten + buffered + duplicate + dead after every step, and reads equal the log.

    After a restart reads are answered once what the log held then is applied: files may be ahead of it until then.
    """
    ready_at = 0
    rig = IngesterRig(replace(RULES, soft_memory_bytes=soft_memory_bytes), jobs_max=jobs_max)
    for kind, value in drawn:
        act(rig, kind, value)
        if kind == "restart":
            ready_at = rig.next_offset
        if rig.core.applied_offset >= ready_at:
            assert rig.read() == rig.expected()
    rig.poll()
    rig.go_cold()
    rig.tick(61)
    rig.settle()
    assert rig.read() == rig.expected()
    state = rig.core.state
    assert state.replay_offset == rig.next_offset
    assert state.accounts.settled == sum(each.record.rows for each in rig.log)
    assert state.accounts.dead == sum(each.record.rows for each in rig.log if each.fate == "dead")
    assert state.accounts.duplicate == sum(each.record.rows for each in rig.log if each.fate == "duplicate")

"""Names that SQL takes for one: no value ever appears under another column, and each column can be asked for."""

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.catalog import schema_store
from common.catalog.paths import path_component
from common.store.objects import ObjectStore, run
from common.store.opening import open_store
from common.values.errors import InvalidRequest
from common.values.schema import TIME
from penstock.query.names import collide, column_names, fold, tables_named
from penstock.query.query import query
from tests.support.asked import ask, put, settle
from tests.support.live_rig import LiveRig
from tests.support.records import DAY0_NS, NAMESPACE, Row, row


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(f"file://{tmp_path}/store")


@pytest.fixture
def live(store: ObjectStore) -> Iterator[LiveRig]:
    with LiveRig(store) as rig:
        yield rig


PAIRS = [
    ("Temp", "temp"),
    ("É", "é"),
    ("ß", "SS"),
    ("é", unicodedata.normalize("NFD", "é")),
    ("K", "k"),
    ("\N{KELVIN SIGN}", "k"),
    ("İ", "i"),
    ("Σ", "ς"),
    ("ſ", "s"),
    ("ﬁ", "fi"),
    ("Ａ", "ａ"),
    ("a", "a "),
    ("a", " a"),
    ("a", "a."),
    ("a\nb", "a b"),
    ('a"b', "a'b"),
]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_which_names_duckdb_takes_for_one(first: str, second: str) -> None:
    """A-Z and a-z and nothing else: as fold() says. A DuckDB that folds more would be found here."""
    with duckdb.connect() as connection:
        names = [name.replace('"', '""') for name in (first, second)]
        connection.execute('CREATE VIEW v("{}", "{}") AS SELECT 1, 2'.format(*names))
        found = connection.execute(f'SELECT "{names[1]}" FROM v').fetchall()
    assert (found == [(1,)]) == (fold(first) == fold(second))


@pytest.mark.parametrize("persisted", [False, True])
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_names_that_something_folds_stay_apart(
    store: ObjectStore, live: LiveRig, first: str, second: str, persisted: bool
) -> None:
    """Case, Unicode forms, blanks: two columns with their own values, over files and memory."""
    put(live, {"m": [Row(DAY0_NS, {}, {first: 1.0, second: 2.0})]}, persisted, settled=True)
    (found,) = ask(store, "SELECT * FROM m")
    names = column_names(sorted([first, second]))
    assert (found[names[first]], found[names[second]]) == (1.0, 2.0)
    for column, value in ((first, 1.0), (second, 2.0)):
        written = names[column].replace('"', '""')
        assert ask(store, f'SELECT "{written}" AS x FROM m WHERE "{written}" = {value}') == [{"x": value}]


def test_a_column_that_comes_later_does_not_mix_with_the_first(store: ObjectStore, live: LiveRig) -> None:
    """`Temp` is persisted, `temp` comes: `Temp` keeps its name, also as a query wrote it before."""
    put(live, {"m2": [row(DAY0_NS, Temp=1.0)]}, persisted=True, settled=True)
    assert ask(store, "SELECT temp AS x FROM m2") == [{"x": 1.0}]
    for persisted in (False, True):
        settle(store, "m2", [row(0, temp=2.0)])
        put(live, {"m2": [row(DAY0_NS + 1, temp=2.0)]}, persisted)
        assert ask(store, 'SELECT Temp, "temp~2" FROM m2 ORDER BY time') == [
            {"Temp": 1.0, "temp~2": None},
            {"Temp": None, "temp~2": 2.0},
        ]
        assert ask(store, "SELECT temp AS x FROM m2 ORDER BY time") == [{"x": 1.0}, {"x": None}]


def test_a_tag_and_a_field_that_differ_in_case(store: ObjectStore, live: LiveRig) -> None:
    """Each keeps its type and its values."""
    put(live, {"m": [Row(DAY0_NS, {"Host": "a"}, {"v": 1.0})]}, persisted=True, settled=True)
    settle(store, "m", [Row(0, {"Host": "a"}, {"host": 7})])
    put(live, {"m": [Row(DAY0_NS + 1, {"Host": "b"}, {"host": 7})]})
    assert ask(store, 'SELECT Host, "host~2" FROM m ORDER BY time') == [
        {"Host": "a", "host~2": None},
        {"Host": "b", "host~2": 7},
    ]


def test_two_fields_of_one_row_that_differ_in_case(store: ObjectStore, live: LiveRig) -> None:
    """`td,d=x La=257.65,la=78 1`: of those settled at once the first by name keeps it."""
    put(live, {"td": [Row(DAY0_NS, {"d": "x"}, {"La": 257.65, "la": 78.0})]}, persisted=True, settled=True)
    assert ask(store, 'SELECT la, "la~2" FROM td') == [{"La": 257.65, "la~2": 78.0}]
    assert ask(store, 'SELECT d FROM td WHERE "la~2" = 78') == [{"d": "x"}]
    assert ask(store, "SELECT d FROM td WHERE la = 78") == []


def test_names_that_look_like_time(store: ObjectStore, live: LiveRig) -> None:
    """`time` is always the row's time; `UTC_DAY` is a column as any other."""
    fields = {"Time": 1.0, "TIME": 2.0, "UTC_DAY": 3.0}
    put(live, {"m": [Row(DAY0_NS, {}, fields)]}, persisted=True, settled=True)
    (found,) = ask(store, 'SELECT epoch_ns(time) AS ns, "time~2" AS a, "time~3" AS b, utc_day FROM m')
    assert found == {"ns": DAY0_NS, "a": 2.0, "b": 1.0, "UTC_DAY": 3.0}


def test_what_is_called_otherwise_is_said(store: ObjectStore, live: LiveRig) -> None:
    """With the name to write; for tables whose names fit nothing is said."""
    put(live, {"m": [Row(DAY0_NS, {}, {"Temp": 1.0, "temp": 2.0})], "cpu": [row(DAY0_NS, v=1.0)]}, settled=True)
    said: list[str] = []
    ask(store, "SELECT v FROM cpu", on_note=said.append)
    assert said == []
    ask(store, "SELECT * FROM m", on_note=said.append)
    assert said == ["m: SQL ignores case, so column 'temp' is called \"temp~2\" here"]


def test_a_name_with_a_nul_is_left_to_the_files(store: ObjectStore, live: LiveRig) -> None:
    """Arrow and SQL end a name there: its values must not appear under the shorter name."""
    put(live, {"m": [Row(DAY0_NS, {}, {"a": 1.0, "a\0b": 2.0})]}, persisted=True, settled=True)
    said: list[str] = []
    assert ask(store, "SELECT a FROM m", on_note=said.append) == [{"a": 1.0}]
    assert list(ask(store, "SELECT * FROM m")[0]) == ["time", "a"]
    assert said == ["m: column 'a\\x00b' cannot be named in SQL; it is in the files only"]


LETTERS = st.text("aAbB~2\u00e9\u0301 \"'", min_size=1, max_size=4)


@given(st.lists(st.lists(LETTERS, max_size=5), max_size=5))
def test_a_name_never_changes_by_what_comes_later(versions: list[list[str]]) -> None:
    """With any names settled after it; no two names become one, and none becomes `time`."""
    settled: list[str] = []
    before: dict[str, str] = {}
    for version in versions:
        settled = list(dict.fromkeys([*settled, *sorted(set(version))]))
        names = column_names(settled)
        assert {column: names[column] for column in before} == before
        assert len({fold(name) for name in (TIME, *names.values())}) == len(names) + 1
        assert collide(settled) or names == {name: name for name in settled}
        before = names


def test_every_table_can_be_read_in_one_statement(store: ObjectStore, live: LiveRig) -> None:
    """Two that differ in case: by the name of the folder, which is another for each."""
    put(live, {"cpu": [row(DAY0_NS, "a", v=1.0)], "CPU": [row(DAY0_NS, "a", v=2.0)]}, persisted=True)
    sql = 'SELECT a.v AS small, b.v AS large FROM cpu a JOIN "!43!50!55" b USING (host)'
    assert path_component("CPU") == "!43!50!55"
    assert ask(store, sql) == [{"small": 1.0, "large": 2.0}]
    assert ask(store, 'SELECT v FROM "CPU"') == [{"v": 2.0}]
    assert [each["name"] for each in ask(store, "SHOW TABLES")] == ["CPU", "cpu"]
    with pytest.raises(InvalidRequest, match=r'to read both in one statement write "!43!50!55" for CPU$'):
        ask(store, "SELECT * FROM cpu, CPU")
    with pytest.raises(InvalidRequest, match=r"'Cpu' is none of them: write one exactly, or \"!43!50!55\" for CPU$"):
        ask(store, "SELECT * FROM Cpu")


def test_a_table_alone_is_read_in_any_case() -> None:
    """As SQL has it; several spellings in one statement are one table."""
    assert tables_named(["CPU", "cpu", "x"], ["cpu", "mem"]) == {"CPU": "cpu", "cpu": "cpu"}
    assert tables_named(["Größe"], ["größe"]) == {"Größe": "größe"}
    assert tables_named(["GRÖSSE"], ["größe"]) == {}


def test_namespaces_that_differ_in_case_are_two(store: ObjectStore, live: LiveRig) -> None:
    """Each is asked for by its exact name."""
    for namespace, value in (("metrics", 1.0), ("Metrics", 2.0)):
        live.rig.append({"cpu": [row(DAY0_NS, "a", v=value)]}, namespace=namespace)
        live.rig.poll()
    live.show()
    for namespace, value in (("metrics", 1.0), ("Metrics", 2.0)):
        assert query("SELECT v FROM cpu", namespace, store, 1, timeout_s=5.0).to_pylist() == [{"v": value}]


def test_the_order_of_settling_is_read_from_the_versions(store: ObjectStore) -> None:
    """Also where it is against the order of the letters."""
    for columns in ({"b": 1.0}, {"B": 1.0}, {"A": 1.0, "a": 1.0}):
        settle(store, "m", [Row(0, {}, columns)])
    schema = run(schema_store.newest(NAMESPACE, "m"), store)
    order = run(schema_store.settled_order(NAMESPACE, "m", schema), store)
    assert order == ["b", "B", "A", "a"]
    assert column_names(order) == {"b": "b", "B": "B~2", "A": "A", "a": "a~2"}

"""Makes the golden data folder of a release: `python -m tests.support.golden_folder FOLDER`.

Run once for each release whose formats are new; every later release must open the folder
(tests/cluster/test_golden_folder.py). Written by the real router parsing, file log, ingester core, persist and
manifest, in one process, so that no address or name of a machine is in it. Holds: two sequencers; files of several
commits, overlapping ones too; an added column; names that need escaping; every field type; rows that are in the log
only; a dead letter; a log of two segments; from version 2 on manifests with checkpoints.
"""

import json
import random
import sys
from pathlib import Path

from common.catalog import cluster
from common.catalog.manifest import checkpoint
from common.catalog.manifest.change import Instance
from common.store.objects import ObjectStore, run
from common.store.opening import open_store
from common.values.config import IngesterConfig
from common.values.ids import SequencerId
from ingester.core.core import IngesterCore
from ingester.core.events import Event, Polled, StopRequested, Tick
from ingester.core.lifecycle import Rules
from ingester.following.claim import claim
from ingester.following.decode import decode
from ingester.performing import StoreAction, perform
from router.parsing.partition import sequencer_of, series_hash
from tests.support.records import DAY0_NS, Row, Unsigned, record
from writebuffer.connect import connect
from writebuffer.contract import Reader
from writebuffer.record import Record

SEQUENCERS = 2
NAMESPACE = "golden"
TABLES = ("cpu", "Größe !", "mixed")


def rows(generation: int) -> list[tuple[str, Row]]:
    """Rows of one write, by table. Generation 1 overwrites one field of generation 0's rows and adds a column."""
    found = []
    for host in range(6):
        for step in range(3):
            time_ns = DAY0_NS + step * 40_000_000_000_000 + host
            fields: dict[str, object] = {"usage": host + step / 4 + generation}
            if generation:
                fields["added"] = f"since {generation}"
            else:
                fields |= {"count": -host, "big": Unsigned(2**64 - 1 - host), "up": step % 2 == 0, "text": 'a"b\\c\nü'}
            found.append((TABLES[host % 3], Row(time_ns, {"host": f"h{host}", "Zone": "a b"}, fields)))
    found.append((TABLES[0], Row(-1, {}, {"usage": float(generation)})))
    return found


def expected() -> list[dict[str, object]]:
    """What a query must find: field by field the newest of generations 0 to 2."""
    merged: dict[tuple[str, str, int], dict[str, object]] = {}
    for generation in range(3):
        for table, row in rows(generation):
            key = (table, row.tags.get("host", ""), row.time_ns)
            merged.setdefault(key, {}).update(row.fields)
    return [{"table": t, "host": h, "time_ns": ns, "fields": fields} for (t, h, ns), fields in sorted(merged.items())]


def records(generation: int) -> dict[int, Record]:
    """The records of one write, one for each sequencer touched."""
    split: dict[int, dict[str, list[Row]]] = {}
    for table, row in rows(generation):
        sequencer = sequencer_of(series_hash(NAMESPACE, table, tuple(sorted(row.tags.items()))), SEQUENCERS)
        split.setdefault(sequencer, {}).setdefault(table, []).append(row)
    return {
        sequencer: record(tables, namespace=NAMESPACE, sequence=generation, append_time_ns=DAY0_NS + generation)
        for sequencer, tables in split.items()
    }


def ingest(reader: Reader, store: ObjectStore, sequencer: int) -> None:
    """Claim, apply what is there, persist everything, stop."""
    claimed = claim(reader, store, SequencerId(sequencer), Instance("golden", "127.0.0.1:1", "127.0.0.1:2"), False)
    core = IngesterCore(claimed.state, Rules.of(IngesterConfig()), 1 << 28, 4, random.Random(sequencer))
    cursor = reader.cursor(SequencerId(sequencer))
    cursor.seek(core.applied_offset)
    batch = cursor.poll(1000, 1 << 24, 0)
    events: list[Event] = [Polled(tuple(map(decode, batch.records)), batch.next_offset, True), Tick(DAY0_NS)]
    events.append(StopRequested(persist=True))
    while events:
        events += [perform(action, store) for action in core.step(events.pop(0)) if isinstance(action, StoreAction)]


def append(url: str, generation: int, *, poison: bool = False) -> None:
    writer = connect(url).open_writer()
    for sequencer, appended in records(generation).items():
        writer.append(SequencerId(sequencer), appended).result()
    if poison:
        good = records(0)[SEQUENCERS - 1]
        broken = Record.of(good.headers.__class__(**{**_fields(good), "producer_sequence": 99}), b"not an entry")
        writer.append(SequencerId(SEQUENCERS - 1), broken).result()
    writer.close()


def _fields(made: Record) -> dict[str, object]:
    return {name: getattr(made.headers, name) for name in made.headers.__slots__}


def make(folder: Path) -> None:
    checkpoint.RECORDS_MAX = 2  # any number is read: it is only how often one is written
    url = f"file://{folder}/log"
    connect(url).create(SEQUENCERS)
    store = open_store(f"file://{folder}/store")
    run(cluster.found_or_join(SEQUENCERS, "golden"), store)
    for generation in range(2):
        append(url, generation, poison=generation == 1)
        reader = connect(url).open_reader()
        for sequencer in range(SEQUENCERS):
            ingest(reader, store, sequencer)
        reader.close()
    append(url, 2)  # in the log alone
    for lock in folder.rglob("lock"):
        lock.unlink()  # names the host it was made on
    (folder / "expected.json").write_text(json.dumps(expected(), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    target = Path(sys.argv[1]).absolute()
    target.mkdir(parents=True)
    make(target)

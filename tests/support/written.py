"""What seeded writers sent, what of it was acknowledged, and the check of what is read back.

Every row has a key of its own and values that follow from (seed, batch, row), so that a row read back says which one it
is and whether it is intact. Writers never send a batch twice.
"""

import http.client
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from common.values.token import parse_token

NAMESPACE = "faults"
TABLES = ("cpu", "mem of host", "Disk")
BASE_NS = 1_750_000_000_000_000_000
DAY_NS = 86_400_000_000_000
HOSTS = 12

Values = tuple[float, int, int, str, bool]


@dataclass(frozen=True)
class Key:
    table: str
    host: str
    time_ns: int


@dataclass
class Batch:
    number: int
    rows: dict[Key, Values]
    acknowledged: bool = False

    def line_protocol(self) -> bytes:
        return "\n".join(_line(key, values) for key, values in self.rows.items()).encode()


def make_batch(seed: int, number: int) -> Batch:
    """Rows for several tables, hosts and days; unique keys over all batches of one seed."""
    rng = random.Random(f"{seed}/{number}")
    rows: dict[Key, Values] = {}
    for row in range(rng.randint(1, 40)):
        key = Key(
            rng.choice(TABLES),
            f"host-{rng.randrange(HOSTS)}",
            BASE_NS + rng.randrange(2) * DAY_NS + number * 1_000_000 + row,
        )
        text = rng.choice(["", 'quo"te', "back\\slash", "line\nbreak", "ünïcode", "plain, with = signs"])
        rows[key] = (rng.uniform(-1e6, 1e6), rng.randint(-(2**63), 2**63 - 1), rng.getrandbits(64), text, bool(row % 2))
    return Batch(number, rows)


def _line(key: Key, values: Values) -> str:
    f, i, u, s, b = values
    text = s.replace("\\", "\\\\").replace('"', '\\"')
    table = key.table.replace(" ", "\\ ")
    return f'{table},host={key.host} f={f!r},i={i}i,u={u}u,s="{text}",b={str(b).lower()} {key.time_ns}'


@dataclass
class Sent:
    """Batches of all writers by number; the greatest offset acknowledged for each sequencer."""

    seed: int
    batches: dict[int, Batch] = field(default_factory=dict)
    token: dict[int, int] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    last_503: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next_batch(self) -> Batch:
        with self._lock:
            batch = make_batch(self.seed, len(self.batches))
            self.batches[batch.number] = batch
            return batch

    def acknowledge(self, batch: Batch, token: str) -> None:
        with self._lock:
            batch.acknowledged = True
            for sequencer, offset in parse_token(token).items():
                self.token[sequencer] = max(offset, self.token.get(sequencer, -1))

    @property
    def acknowledged(self) -> int:
        with self._lock:
            return sum(batch.acknowledged for batch in self.batches.values())


class Writers:
    """Threads that send batches to a router until stopped. A batch whose answer was missed is not sent again."""

    def __init__(self, sent: Sent, port: int, count: int) -> None:
        self._sent = sent
        self._port = port
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, daemon=True) for _ in range(count)]

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _write(self) -> None:
        connection = None
        while not self._stop.is_set():
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=40)
                    connection.connect()
                self._send(connection, self._sent.next_batch())
            except (OSError, http.client.HTTPException):
                connection = None
                self._stop.wait(0.05)

    def _send(self, connection: http.client.HTTPConnection, batch: Batch) -> None:
        connection.request("POST", f"/api/v2/write?bucket={NAMESPACE}&org=o&precision=ns", batch.line_protocol())
        answer = connection.getresponse()
        body = answer.read()
        if answer.status == 204:
            self._sent.acknowledge(batch, answer.headers["X-Penstock-Write-Token"])
        elif answer.status != 503:
            self._sent.refused.append(f"{answer.status} {body[:200]!r}")
        else:
            self._sent.last_503 = body.decode(errors="replace")
            self._stop.wait(0.05)


def check(sent: Sent, found: Iterable[tuple[Key, Values]], sequencer_of: Callable[[Key], int]) -> None:
    """Raise AssertionError, with the seed and what differs, unless `found` is right:

    every acknowledged row once with its values; of every other batch, on each sequencer, all rows once or none; nothing
    else.
    """
    counts: Counter[Key] = Counter()
    owners = {key: batch for batch in sent.batches.values() for key in batch.rows}
    wrong: list[str] = [f"refused: {text}" for text in sent.refused]
    for key, values in found:
        counts[key] += 1
        if key not in owners:
            wrong.append(f"phantom {key} {values}")
        elif owners[key].rows[key] != values:
            wrong.append(f"changed {key}: sent {owners[key].rows[key]}, found {values}")
    wrong += [f"{count} times {key}" for key, count in counts.items() if count > 1]
    for batch in sent.batches.values():
        wrong += _missing(batch, counts, sequencer_of)
    if wrong:
        raise AssertionError(f"seed {sent.seed}: {len(wrong)} wrong, first: " + "; ".join(wrong[:5]))


def _missing(batch: Batch, counts: "Counter[Key]", sequencer_of: Callable[[Key], int]) -> list[str]:
    if batch.acknowledged:
        return [f"lost {key} of acknowledged batch {batch.number}" for key in batch.rows if not counts[key]]
    there: dict[int, set[bool]] = defaultdict(set)
    for key in batch.rows:
        there[sequencer_of(key)].add(bool(counts[key]))
    return [f"batch {batch.number} is there in part on sequencer {s}" for s, seen in there.items() if len(seen) > 1]

"""Lines as real sources write them, in parts: machines' metrics, an agent's mix with strings, small devices."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Value = Callable[[random.Random], bytes]


def _float(rng: random.Random) -> bytes:
    return b"%.2f" % (rng.random() * 100)


def _exact(rng: random.Random) -> bytes:
    return repr(rng.random()).encode()


def _round(rng: random.Random) -> bytes:
    return b"%d" % (rng.random() * 1000)


def _integer(rng: random.Random) -> bytes:
    return b"%di" % (rng.random() * 2 ** rng.choice((4, 20, 40, 62)) - 8)


def _unsigned(rng: random.Random) -> bytes:
    return b"%du" % (rng.random() * 2**50)


def _boolean(rng: random.Random) -> bytes:
    return b"true" if rng.random() < 0.5 else b"f"


_MESSAGES = (
    b'"ok"',
    b'""',
    b'"disk full, retrying = 3"',
    '"käse → brot"'.encode(),
    b'"C:\\\\Users\\\\a \\"b\\""',
    b'"a=b c=d"',
    b'"#"',
)


def _string(rng: random.Random) -> bytes:
    return rng.choice(_MESSAGES)


@dataclass(frozen=True, slots=True)
class Shape:
    """Lines of one table. series: as written, before the first space. fields: key and maker of values of each."""

    series: Sequence[bytes]
    fields: Sequence[tuple[bytes, Value]]
    is_sparse: bool = False

    def parts(self, rng: random.Random) -> tuple[bytes, list[bytes]]:
        """The series and the fields of one line, each `key=value`."""
        series = self.series[int(rng.random() * len(self.series))]
        fields = self.fields
        if self.is_sparse:
            fields = rng.sample(fields, min(len(fields), rng.choice((1, 2, 5))))
        return series, [key + b"=" + value(rng) for key, value in fields]


def shapes(rng: random.Random) -> list[Shape]:
    """The tables of one body or a few; names come from small pools, so that bodies share tables and columns."""
    makers = rng.choices((_devops, _agent, _devices, _logs, _wide), (4, 3, 4, 2, 0.3), k=rng.randint(1, 4))
    return [make(rng) for make in makers]


def _devops(rng: random.Random) -> Shape:
    table = rng.choice((b"cpu", b"mem", b"disk", b"net"))
    tags = b",region=eu-%d,datacenter=eu-%d-a,os=Ubuntu16.04LTS,arch=x64"
    series = [
        b"%s,hostname=host_%d" % (table, host) + tags % (host % 3, host % 5) for host in range(rng.randint(1, 60))
    ]
    kind = rng.choice((_float, _integer, _round))
    return Shape(
        series, [(b"usage_%s" % name, kind) for name in (b"user", b"system", b"idle", b"guest")[: rng.randint(1, 4)]]
    )


def _agent(rng: random.Random) -> Shape:
    table = rng.choice((b"system", b"procstat", b"docker\\ container"))
    series = [table + b",host=h%d,image=nginx\\,alpine\\ 3,k\\=v=a\\=b" % host for host in range(rng.randint(1, 20))]
    fields = [
        (b"load1", _exact),
        (b"n_users", _integer),
        (b"uptime", _unsigned),
        (b"is\\ up", _boolean),
        (b"message", _string),
    ]
    return Shape(series, fields)


def _devices(rng: random.Random) -> Shape:
    table = rng.choice((b"t", b"iot", b"s"))
    series = [b"%s,id=%d" % (table, device) for device in range(rng.choice((1, 10, 500)))]
    if rng.random() < 0.2:
        series.append(table)
    return Shape(series, [(b"v", rng.choice((_float, _round, _integer)))])


def _logs(rng: random.Random) -> Shape:
    series = ["logs,app=bäckerei,level=%s".encode() % level for level in (b"info", b"warn", b"error")]
    return Shape(
        series, [(b"msg", _string), (b"code", _integer), (b"slow", _boolean), (b"took", _exact)], rng.random() < 0.5
    )


def _wide(rng: random.Random) -> Shape:
    """Up to more columns than a table may have, a few on each line."""
    columns = rng.choice((50, 300, 1100))
    return Shape(
        [b"wide,k=%d" % number for number in range(3)], [(b"c%d" % number, _round) for number in range(columns)], True
    )

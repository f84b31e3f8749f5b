"""Bodies by seed: lines of real shapes, and between them, as often as asked, lines with every kind of oddity."""

import random
from collections.abc import Callable

from common.values.schema import RESERVED_COLUMNS
from router.lineprotocol.scalar import GUESSED_PRECISION, LINE_BYTES_MAX, NAME_BYTES_MAX, STRING_BYTES_MAX
from router.parsing.messages import Body
from router.parsing.time_bounds import ANY_TIME, TimeBounds, TimeLimits
from tests.support.lines import tokens
from tests.support.lines.mutations import mutated
from tests.support.lines.shapes import shapes

PRECISIONS_NS = (1, 1, 1, 10**3, 10**6, 10**9, 60 * 10**9, 3600 * 10**9, GUESSED_PRECISION)
_NOW_NS = 1_700_000_000_000_000_000
_BLANKS = (
    b"",
    b" ",
    b"  ",
    b"   ",
    b"\t",
    b" \t",
    b"\t ",
    b"\\ ",
    b"\r",
    b"\n",
    b"\0",
    b" \r",
    b"\\",
    b"\xa0",
    b",",
    b", ",
)
_ENDS = (
    b"\n",
    b"\n",
    b"\n",
    b"\r\n",
    b"\r\n",
    b"\n\n",
    b"\r",
    b"\r\r\n",
    b" \n",
    b"\t\n",
    b"\0\n",
    b"\\\n",
    b"\n\r",
    b" \r\n",
)
_COMMENTS = (
    b"", b" ", b"\t", b"\r", b" \t \r", b" \r ", b"\r\r", b"\0", b"#", b"##", b"#\r", b"# text", b"  # odd", b"\t#",
    b'# "quoted', b'#="', b'# f="', b'#a f="x', b'#,t="v f="', b"# m f=1 5",
    b"# back\\", b"\\#", b"\\# f=1", b"# \xff", b"# \0",
)  # fmt: skip


class Grammar:
    """Bodies that share a few tables. nastiness: how many of the lines are odd, 0..1."""

    def __init__(self, rng: random.Random, nastiness: float) -> None:
        self._rng = rng
        self._nastiness = nastiness
        self._shapes = shapes(rng)
        self._time_ns = _NOW_NS
        self._precision_ns = 1

    def body(self, lines: int) -> Body:
        """A body of about that many lines."""
        rng = self._rng
        self._precision_ns = rng.choice(PRECISIONS_NS)
        written = [self._odd_line() if rng.random() < self._nastiness else self.good_line() for _ in range(lines)]
        data = self._ended(self._joined(written))
        default_time_ns = rng.choice((_NOW_NS, 0, -1, rng.getrandbits(62)))
        return Body(data, self._precision_ns, default_time_ns, rng.random() < 0.1, self._times())

    def _times(self) -> TimeBounds:
        """Mostly any; else within some minutes of the last line's time, so that each bound refuses a few lines."""
        if self._rng.random() < 0.85:
            return ANY_TIME
        limits = TimeLimits(*(self._rng.choice((0, 1, 10**9, 10**11)) for _ in range(2)))
        return limits.around(self._time_ns - self._rng.choice((0, 0, 10**10)))

    def good_line(self) -> bytes:
        """A line that any parser accepts, unless the table's columns are of other types."""
        series, fields = self._rng.choice(self._shapes).parts(self._rng)
        return b"%s %s%s" % (series, b",".join(fields), self._good_time())

    def _joined(self, lines: list[bytes]) -> bytes:
        rng = self._rng
        kind = rng.random()
        if kind < 0.6:
            return b"\n".join(lines)
        if kind < 0.8 or not self._nastiness:
            return b"\r\n".join(lines)
        return b"".join(line + rng.choice(_ENDS) for line in lines)

    def _ended(self, data: bytes) -> bytes:
        """`data` with a start and an end as bodies have them: mostly a newline at the end."""
        rng = self._rng
        if rng.random() < 0.6:
            data += b"\n"
        if rng.random() >= self._nastiness:
            return data
        return rng.choice(_WHOLES)(rng, data)

    def _good_time(self) -> bytes:
        rng = self._rng
        if rng.random() < 0.1:
            return b""
        self._time_ns += int(rng.random() * 10**9)
        return b" %d" % (self._time_ns // (self._precision_ns or rng.choice((1, 10**3, 10**6, 10**9))))

    def _odd_line(self) -> bytes:
        rng = self._rng
        return rng.choices(_ODDITIES, _WEIGHTS)[0](self)

    def _parts(self) -> tuple[bytes, list[bytes]]:
        return self._rng.choice(self._shapes).parts(self._rng)

    def _odd_value(self) -> bytes:
        """One field has a value of any syntax."""
        series, fields = self._parts()
        at = self._rng.randrange(len(fields))
        key = fields[at].partition(b"=")[0] if self._rng.random() < 0.5 else self._rng.choice(tokens.WORDS)
        value = tokens.number(self._rng) if self._rng.random() < 0.7 else tokens.string(self._rng)
        fields[at] = key + b"=" + value
        return b"%s %s%s" % (series, b",".join(fields), self._good_time())

    def _odd_time(self) -> bytes:
        series, fields = self._parts()
        return b"%s %s %s" % (series, b",".join(fields), tokens.time(self._rng, self._precision_ns))

    def _odd_name(self) -> bytes:
        """A tag or a field more, with any bytes in its key or value, or any bytes in the measurement."""
        rng = self._rng
        series, fields = self._parts()
        kind = rng.randrange(6)
        if kind == 0:
            table, comma, tags = series.partition(b",")
            series = rng.choice((tokens.text(rng, b", "), table + tokens.text(rng, b", "))) + comma + tags
        elif kind <= 2:
            key = tokens.text(rng, b",= ") if kind == 1 else b"odd"
            series += b",%s=%s" % (key, tokens.text(rng, b",= "))
        elif kind == 3:
            series += b",%s=v" % tokens.text(rng, b",= ")
        else:
            fields.insert(
                rng.randint(0, len(fields)), b"%s=%s" % (tokens.text(rng, b",= "), rng.choice((b"1", b"t", b'"s"')))
            )
        return b"%s %s%s" % (series, b",".join(fields), self._good_time())

    def _odd_string(self) -> bytes:
        series, fields = self._parts()
        fields.insert(self._rng.randint(0, len(fields)), b"odd=" + tokens.string(self._rng))
        return b"%s %s%s" % (series, b",".join(fields), self._good_time())

    def _odd_blanks(self) -> bytes:
        """Other blanks than one space, or none, in one place or in all."""
        rng = self._rng
        series, fields = self._parts()
        blanks = [b"", b" ", b" ", b""]
        for at in rng.sample(range(4), rng.choice((1, 1, 2, 4))):
            blanks[at] = rng.choice(_BLANKS)
        comma = b"," if rng.random() < 0.8 else rng.choice((b", ", b" ,", b",,", b"\\,"))
        return b"".join((blanks[0], series, blanks[1], comma.join(fields), blanks[2], self._good_time()[1:], blanks[3]))

    def _repeated(self) -> bytes:
        """A tag or field twice, one name as a tag and a field, a reserved name."""
        rng = self._rng
        series, fields = self._parts()
        key = fields[0].partition(b"=")[0]
        tag = rng.choice(series.split(b",")[1:] or [b"k=v"])
        kind = rng.randrange(6)
        if kind == 0:
            series += b"," + rng.choice((tag, tag.partition(b"=")[0] + b"=other"))
        elif kind == 1:
            series += b",%s=x" % key
        elif kind == 2:
            fields += [key + b"=" + rng.choice((b"1", b"2i", b"t", b'"s"', b"x"))]
        elif kind == 3:
            series += b",%s=x" % rng.choice([*RESERVED_COLUMNS]).encode()
        elif kind == 4:
            fields.insert(
                rng.randint(0, len(fields)),
                rng.choice([*sorted(RESERVED_COLUMNS)]).encode() + b"=" + tokens.number(rng),
            )
        else:
            fields = [b"time=1", b"utc_day=2"][: rng.randint(1, 2)]
        return b"%s %s%s" % (series, b",".join(fields), self._good_time())

    def _conflict(self) -> bytes:
        """A field of another type, a field that is a tag elsewhere, or the other way round."""
        rng = self._rng
        series, fields = self._parts()
        at = rng.randrange(len(fields))
        key = fields[at].partition(b"=")[0]
        kind = rng.random()
        if kind < 0.6:
            fields[at] = key + b"=" + rng.choice((b"1", b"1i", b"1u", b"t", b'"s"'))
        elif kind < 0.8:
            return b"%s,%s=tag other=1%s" % (series.partition(b",")[0], key, self._good_time())
        else:
            tag = rng.choice(series.split(b",")[1:] or [b"k=v"]).partition(b"=")[0]
            return b"%s %s=1%s" % (series.partition(b",")[0], tag, self._good_time())
        return b"%s %s%s" % (series, b",".join(fields), self._good_time())

    def _incomplete(self) -> bytes:
        rng = self._rng
        series, fields = self._parts()
        whole = b",".join(fields)
        choices = (
            series, series + b" ", series + b" " + whole + b",", series + b", " + whole, b"," + series + b" " + whole,
            series + b",k= " + whole, series + b",k " + whole, series + b",=v " + whole, series + b" " + whole + b",=1",
            series + b" f", series + b" f=", series + b" =", series + b",, " + whole, series + b" ,f=1", b" " + whole,
            series + b"," + whole, series + b" " + whole + b",f",
            b"f=1", b" f=1", b"=", b",", b'"', b"\\", b'="', b' ="', b"m  5",
        )  # fmt: skip
        return rng.choice(choices)

    def _comment(self) -> bytes:
        return self._rng.choice(_COMMENTS)

    def _composed(self) -> bytes:
        """Nothing but odd parts."""
        rng = self._rng
        tags = b"".join(
            b",%s=%s" % (tokens.text(rng, b",= "), tokens.text(rng, b",= ")) for _ in range(rng.choice((0, 1, 2)))
        )
        value = rng.choice((tokens.number, tokens.string, tokens.text))
        fields = b",".join(b"%s=%s" % (tokens.text(rng, b",= "), value(rng)) for _ in range(rng.choice((1, 1, 2, 3))))
        return b"%s%s %s %s" % (tokens.text(rng, b", "), tags, fields, tokens.time(rng, self._precision_ns))

    def _mutated(self) -> bytes:
        rng = self._rng
        line = self.good_line() if rng.random() < 0.7 else self._composed()
        return mutated(rng, line, rng.choice((1, 1, 1, 2, 4)))

    def _soup(self) -> bytes:
        """The protocol's own characters in any order."""
        return b"".join(self._rng.choices(tokens.BYTES, k=self._rng.randint(1, 20)))

    def _huge(self) -> bytes:
        """A name, a string, a line at its limit, one byte below or above."""
        rng = self._rng
        near = rng.randint(-2, 2)
        filling = rng.choice((b"x", b"\\ ", b"\\x", "ä".encode(), b'\\"', b"\\\\"))

        def filled(size: int) -> bytes:
            return (filling * (size // len(filling) + 1))[: size - 1] + b"x"

        name = filled(NAME_BYTES_MAX + near)
        choices: tuple[Callable[[], bytes], ...] = (
            lambda: name + b" f=1",
            lambda: b"huge,%s=v f=1" % name,
            lambda: b"huge,k=%s f=1" % name,
            lambda: b"huge %s=1" % name,
            lambda: b'huge s="%s"' % filled(STRING_BYTES_MAX + near),
            lambda: b'huge s="%s"' % (b'\\"' * (STRING_BYTES_MAX + near)),
            lambda: b"huge f=1".ljust(LINE_BYTES_MAX + near),
            lambda: b"huge f=1".ljust(LINE_BYTES_MAX + near) + b"\r",
            lambda: b"huge f=1".rjust(LINE_BYTES_MAX + near),
            lambda: b"#".ljust(LINE_BYTES_MAX + near, b"x"),
            lambda: b"huge " + b",".join(b"f%d=1i" % field for field in range(1100)),
            lambda: b"huge" + b"".join(b",t%d=v" % tag for tag in range(1100)) + b" f=1",
            lambda: b'huge s="' + b"x\n" * 3000 + b'"',
        )
        return rng.choice(choices)()


_ODD_LINES: dict[Callable[[Grammar], bytes], float] = {
    Grammar._odd_value: 25,
    Grammar._odd_time: 10,
    Grammar._odd_name: 14,
    Grammar._odd_string: 12,
    Grammar._odd_blanks: 8,
    Grammar._repeated: 7,
    Grammar._conflict: 8,
    Grammar._incomplete: 5,
    Grammar._comment: 5,
    Grammar._composed: 5,
    Grammar._mutated: 8,
    Grammar._soup: 3,
    Grammar._huge: 0.03,
}
_ODDITIES, _WEIGHTS = list(_ODD_LINES), list(_ODD_LINES.values())


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randint(0, len(data))]


def _wrapped(rng: random.Random, data: bytes) -> bytes:
    """With a start and an end of its own: a byte order mark, blank lines, a string that is never closed."""
    start = rng.choice(
        (
            b"\xef\xbb\xbf",
            b"\xef\xbb\xbf\xef\xbb\xbf",
            b"\n\n",
            b"\r\n",
            b"\r",
            b" ",
            b"\xff\xfe",
            b"# c\n",
            b'x" f=1\n',
        )
    )
    end = rng.choice(
        (b"", b'last f="open', b'last f="open\n', b"last f=1\\", b'last f="a\\', b"last", b" ", b"\r", b"\n\n\n", b"#")
    )
    return start + data + end


_WHOLES = (_cut, _wrapped, lambda rng, data: mutated(rng, data, rng.choice((1, 3, 10))))

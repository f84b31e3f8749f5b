"""The parts of lines as somebody may write them: every syntax, allowed or not, and the values at every limit."""

import random
import struct
from collections.abc import Callable, Sequence

from common.values.schema import TIME_NS_MAX, TIME_NS_MIN

NUMBERS = tuple(
    b"0 1 -1 -0 00 007 -007 .5 -.5 1. -1. 1.e5 1.E-5 .5e3 5e3 1E5 1e+5 1e-5 1e05 1e-05 0e0 -0e-0 0.0 -0.0 . -. - --"
    b" 1.1.1 1e 1e+ e5 .e5 +1 +.5 +1i 0x1 0x1p3 0b1 0o7 nan NaN -nan inf -inf Infinity 1_0 1_000 1,5 1f 1d 1L 1e999"
    b" -1e999 1e-999 1e308 1.7976931348623157e308 1.7976931348623158e308 1.7976931348623159e308 2e308 4.9e-324 2.4e-324"
    b" 5e-324 2.2250738585072011e-308 2.2250738585072014e-308 9007199254740993 9007199254740993.0 0.1"
    b" 0.30000000000000004 123456789012345678901234567890 0.1234567890123456789012345678901234567890 1e22 1e23"
    b" 8.5e-5 -1e-7 1e400 1e-400 18014398509481985 100000000000000016777215"
    b" 1.00000000000000011102230246251565 1e99999999999999999999"
    b" 0i -0i 1i -1i 007i -007i 00012i 1I 1ii 1i2 i -i i1 1.i 1.5i 1e3i .5i +5i 0x1i 1_0i --1i 1-i nani ti"
    b" 9223372036854775807i 9223372036854775808i -9223372036854775808i -9223372036854775809i 9999999999999999999i"
    b" 99999999999999999999i 123456789012345678901234567890i 0000000000000000000009223372036854775807i"
    b" -0000000000000000000009223372036854775808i -0000000000000000000009223372036854775809i"
    b" 0u -0u 1u -1u 007u 1U 1uu u -u u1 1.u 1.5u 1e3u +5u 18446744073709551615u 18446744073709551616u"
    b" 18446744073709551620u 99999999999999999999u 0000000000000000000018446744073709551615u 1iu 1ui"
    b" 1i\\ 1\\ 9i10".split()
)
OTHERS = (
    *b"t T true True TRUE tRUE tr f F false False FALSE fAlSe yes no null None nil".split(),
    *b"# ' '1' `1` \\ \\1 1\\ t\\ 1\0 \0 \0001i".split(),
    b"",
    b"1\t",
    b"\t1",
    b"1\r",
    b"t\0",
    b"\xef\xbb\xbf1",
    b"\xff",
    b"1\xff",
    "١".encode(),
    "１".encode(),
    "−1".encode(),
    b"1=2",
    b"1=",
    b"=1",
    b"=",
    b'1"',
    b"1\\ 5",
    b"1\\,2",
    b"x",
    b"9" * 400,
    b"9" * 5000,
    b"9" * 5000 + b"i",
    b"0" * 5000 + b"i",
    b"0" * 5000,
    b"0." + b"0" * 400 + b"1",
    b"1" + b"0" * 308,
    b"1" + b"0" * 309,
    b"-" + b"0" * 300 + b"17i",
)
TIMES = (
    *b"0 -0 -1 1 00 007 -007 - -- +5 5. 5.5 .5 1e9 5i 5u 0x5 5_0 nan t x 5x x5 1.7e18 5\\ \\5 5\0 \0".split(),
    b"5\t",
    b"\t5",
    b"5\r",
    b"5 6",
    b"5  6",
    b"5  ",
    b" 5",
    b"  ",
    b'"5"',
    b"5,f=1",
    b"f=1",
    b"5=6",
    "٥".encode(),
    b"5\xff",
    b"\xef\xbb\xbf5",
    b"1" * 5000,
    b"0" * 5000,
    b"0" * 30 + b"5",
    b"-" + b"0" * 30 + b"5",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"-9223372036854775809",
    b"18446744073709551616",
    b"36893488147419103232",
    b"99999999999999999999",
)
_TIME_EDGES = (
    0,
    TIME_NS_MIN,
    TIME_NS_MAX,
    5 * 10**9,
    5 * 10**12,
    5 * 10**15,
    5 * 10**18,
    -5 * 10**9,
    -5 * 10**15,
    2**63,
    2**64,
)

WORDS = (
    b"cpu",
    b"host",
    b"usage_idle",
    b"a",
    b"f",
    b"t",
    b"1",
    b"0x1",
    b"value",
    b"time",
    b"utc_day",
    b"Time",
    b"#",
    b"i",
)
BYTES = (
    *(bytes([byte]) for byte in b",, =  =\"\\\\\\\t#'tfiu01-.+e/:;{}[]\0\x01\x0b\x1f\x7f"),
    b"\n",
    b"\r",
    b"\r\n",
    b"\\,",
    b"\\ ",
    b"\\=",
    b'\\"',
    b"\\\\",
    b"\\n",
    b"\\\n",
    b'="',
    b'",',
    b'" ',
    b'"\n',
    "ä".encode(),
    "→".encode(),
    "😀".encode(),
    "\x85".encode(),
    "\u2028".encode(),
    "\u00a0".encode(),
    "\ufeff".encode(),
    b"\xff",
    b"\xc3",
    b"\xa0",
    b"\xed\xa0\x80",
    b"\xc0\x80",
    b"\xf4\x90\x80\x80",
    b"\xe2\x82",
    b"abc",
    b"longer text of a few words",
)
"""What names, values and strings are put together from."""


def number(rng: random.Random) -> bytes:
    """A field value outside quotes: a number of any syntax, or what looks like one."""
    kind = rng.random()
    if kind < 0.5:
        return rng.choice(NUMBERS)
    if kind < 0.6:
        return rng.choice(OTHERS)
    return rng.choice(_MADE_NUMBERS)(rng)


def _digits(rng: random.Random, most: int = 22) -> bytes:
    return b"%d" % rng.randrange(10 ** rng.randint(1, most))


def _composed(rng: random.Random) -> bytes:
    """Sign, digits, point, digits, exponent and suffix, each there or not."""
    some = rng.choice
    return b"".join(
        (
            some((b"", b"", b"", b"-", b"+", b"--")),
            some((b"", b"0", b"00", _digits(rng), _digits(rng))),
            some((b"", b"", b".", b"." + _digits(rng), b".0")),
            some((b"", b"", b"", b"e%d" % rng.randint(-330, 310), b"E+%d" % rng.randint(0, 30), b"e")),
            some((b"", b"", b"", b"", b"i", b"u", b"f", b" ")),
        )
    )


def _of_bits(rng: random.Random) -> bytes:
    """A float of random bits, as short as it is exact, or with more digits than are needed."""
    (value,) = struct.unpack("<d", rng.randbytes(8))
    return b"%s" % repr(value).encode() if rng.random() < 0.5 else b"%.*e" % (rng.randint(14, 25), value)


def _halfway(rng: random.Random) -> bytes:
    """A number between two floats, or next to that."""
    value = (2 * rng.getrandbits(53) + 1) * 2 ** rng.randint(0, 60)
    return b"%d" % (value + rng.randint(-1, 1)) + rng.choice((b"", b".", b".0", b".00000000000000000000001"))


def _near_limit(rng: random.Random) -> bytes:
    limit = rng.choice((0, 2**31, 2**32, 2**53, 2**63, -(2**63), 2**64, 10**18, 10**19, -(10**18)))
    return b"%d" % (limit + rng.randint(-2, 2)) + rng.choice((b"i", b"u", b"", b"i", b"u"))


_MADE_NUMBERS: Sequence[Callable[[random.Random], bytes]] = (_composed, _of_bits, _halfway, _near_limit)


def time(rng: random.Random, precision_ns: int) -> bytes:
    """A timestamp of any syntax: near the limits of its precision, near what a precision is guessed by, anything."""
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(TIMES)
    if kind < 0.7:
        return b"%d" % (rng.choice(_TIME_EDGES) // (precision_ns or 1) + rng.randint(-2, 2))
    if kind < 0.9:
        return b"%d" % (rng.choice(_TIME_EDGES) // rng.choice((1, 10**3, 10**6, 10**9)) + rng.randint(-2, 2))
    return rng.choice((b"", b"-", b"-0", b"0")) + _digits(rng, 30)


def text(rng: random.Random, special: bytes = b"") -> bytes:
    """A name or tag value as it may be written. special: bytes that are mostly escaped, as by a client."""
    if rng.random() < 0.2:
        return rng.choice(WORDS)
    parts = rng.choices(BYTES, k=rng.choice((0, 1, 1, 1, 2, 2, 3, 4, 6)))
    if rng.random() < 0.5:
        parts.insert(0, rng.choice(WORDS))
    if rng.random() < 0.3:
        parts.append(rng.choice(WORDS))
    written = b"".join(parts)
    return escaped(written, special) if special and rng.random() < 0.75 else written


def escaped(raw: bytes, special: bytes) -> bytes:
    """`raw` with a backslash before each of `special`."""
    for byte in special:
        raw = raw.replace(bytes([byte]), b"\\" + bytes([byte]))
    return raw


def string(rng: random.Random) -> bytes:
    """A string value with its quotes, or with one too few or too many."""
    content = b"".join(rng.choices(BYTES, k=rng.choice((0, 1, 2, 3, 5, 8, 30))))
    kind = rng.random()
    if kind < 0.6:
        content = content.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    elif kind < 0.8:
        content = content.replace(b'"', b'\\"')
    if kind < 0.9:
        return b'"' + content + b'"'
    return rng.choice(
        (b'"' + content, content + b'"', b'"' + content + b'"x', b'"' + content + b'""', b'"' + content + b'\\"')
    )

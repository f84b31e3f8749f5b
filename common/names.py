"""Names that clients choose, made safe as one component of a path.

Kept as they are: a-z, 0-9, `-`, and `_` and `.` except in front. Every other byte of the UTF-8 becomes `!` and two hex
digits, so that no name leaves its folder, two names never meet on a file system that ignores case, and no folder starts
with `_` or `.` (pyarrow and pandas pass such folders over without a word). `!` is in the set that S3 calls safe and
that obstore leaves alone. A name too long for a file system keeps its start and ends in `!-` and its xxh3-128.
"""

import re

import xxhash

COMPONENT_BYTES_MAX = 200
"""File systems take 255 bytes; this leaves room for what is put around the name."""

_OTHER = re.compile(rb"[^a-z0-9_.\-]|^[_.]")


def path_component(name: str) -> str:
    """`name` as one path component. Distinct names give distinct components."""
    raw = name.encode("utf-8", "surrogatepass")
    escaped = _OTHER.sub(lambda match: b"!%02x" % match[0][0], raw).decode("ascii")
    if not escaped:
        return "!"
    if len(escaped) <= COMPONENT_BYTES_MAX:
        return escaped
    return f"{escaped[: COMPONENT_BYTES_MAX - 34]}!-{xxhash.xxh3_128_hexdigest(raw)}"

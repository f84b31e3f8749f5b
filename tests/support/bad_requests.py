"""Requests that are refused whole, whatever their lines say: how each is made, and how every API answers it."""

import gzip
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from tests.support.compressed import zstd
from tests.support.raw_http import request_bytes
from tests.support.write_apis import ARROW, V1, V2, V3, WRITE_APIS, WriteApi

BODY_BYTES_MAX = 10_000
LINES = b"m,h=a f=1 1\nm,h=b f=3 3\n"
_ZIPPED = gzip.compress(LINES)
_GZIP = ("Content-Encoding: gzip",)
_FRAME = zstd(LINES)
_ZSTD = ("Content-Encoding: zstd",)
_SUMMED = bytes.fromhex("28b52ffd2408410000") + b"m f=2 1\n" + bytes.fromhex("6cbeba7d")
"""A frame with the checksum of other lines: `m f=1 1`."""
_NO_ZSTD = "error decoding zstd stream: "
_LONG = b"#" * (BODY_BYTES_MAX + 1)
_TOO_LARGE = "the body is over 10000 bytes, before or after decompression: send smaller batches"
_TOO_LARGE_BY_API = {
    V1: f"Request Entity Too Large: {_TOO_LARGE}",
    V2: _TOO_LARGE,
    V3: f"Request Entity Too Large: {_TOO_LARGE}",
    ARROW: f"Request Entity Too Large: {_TOO_LARGE}",
}
_NO_LENGTH = "the request has no length, so the end of its body is unknown: send Content-Length, or Transfer-Encoding"
_NOT_HTTP = "the request is not valid HTTP/1: "
_NO_GZIP = "error decoding gzip stream: "
_NAMES = {
    V1: "n, ns, u, us, ms, s, m, h",
    V2: "ns, us, ms, s",
    V3: "auto, ns, n, nanosecond, us, u, microsecond, ms, millisecond, s, second",
}


@dataclass(frozen=True)
class BadRequest:
    """`{path}`, `{parameter}` and `{precisions}` in `text` are the API's.

    text: how the error's text begins, or by API. more: of the query. namespace: in place of the test's.
    length: in place of a Content-Length header. headers: besides it. of_server: refused before an API sees it; all
    others are counted as writes. reaches_api: so is this one, whose headers are passed on before they are found wrong.
    """

    status: int
    text: str | Mapping[WriteApi, str]
    body: bytes = LINES
    headers: tuple[str, ...] = ()
    length: tuple[str, ...] | None = None
    more: str = ""
    namespace: str | None = None
    target: str = ""
    method: str = "POST"
    version: str = "1.1"
    apis: tuple[WriteApi, ...] = (*WRITE_APIS, ARROW)
    of_server: bool = False
    reaches_api: bool = False

    def bytes_for(self, api: WriteApi, namespace: str) -> bytes:
        target = self.target.format(path=api.path) or api.target(
            namespace if self.namespace is None else self.namespace, self.more
        )
        length = (f"Content-Length: {len(self.body)}",) if self.length is None else self.length
        return request_bytes(self.method, target, [*length, *self.headers], self.body, self.version)

    def text_for(self, api: WriteApi) -> str:
        text = self.text if isinstance(self.text, str) else self.text[api]
        return text.format(path=api.path, parameter=api.parameter, precisions=_NAMES.get(api))


_MISSING = {
    V1: "database is required: give ?db=",
    V2: "bucket is missing: give ?bucket=",
    V3: "db is missing: give ?db=",
    ARROW: "db is missing: give ?db=",
}
_NOT_UTF8 = "the query string is not UTF-8: "

BAD_REQUESTS: dict[str, BadRequest] = {
    "get": BadRequest(405, "GET is not served at {path}; use POST", method="GET", of_server=True),
    "put": BadRequest(405, "PUT is not served at {path}; use POST", method="PUT", of_server=True),
    "delete": BadRequest(405, "DELETE is not served at {path}; use POST", method="DELETE", of_server=True),
    "longer-path": BadRequest(404, "path '{path}/x' is not served", target="{path}/x?db=a&bucket=a", of_server=True),
    "path-in-capitals": BadRequest(404, "path '/WRITE' is not served", target="/WRITE?db=a&bucket=a", of_server=True),
    "no-namespace": BadRequest(400, _MISSING, target="{path}"),
    "other-parameters-only": BadRequest(400, _MISSING, target="{path}?org=a&precision=ns"),
    "empty-namespace": BadRequest(400, _MISSING, namespace=""),
    "namespace-of-the-other-api": BadRequest(400, _MISSING, target="{path}?database=a"),
    "long-namespace": BadRequest(400, "{parameter} of 512 bytes: give at most 511", namespace="x" * 512),
    "long-namespace-in-utf8": BadRequest(400, "{parameter} of 512 bytes: give at most 511", namespace="%c3%a4" * 256),
    "nul-in-namespace": BadRequest(400, "{parameter} 'a\\x00b': give a name without control", namespace="a%00b"),
    "newline-in-namespace": BadRequest(400, "{parameter} 'a\\nb': give a name without control", namespace="a%0ab"),
    "namespace-not-utf8": BadRequest(400, _NOT_UTF8, namespace="%ff"),
    "other-parameter-not-utf8": BadRequest(400, _NOT_UTF8, more="org=%e4"),
    "query-of-raw-latin1": BadRequest(400, _NOT_HTTP, target="{path}?db=\udce4", of_server=True),
    "unknown-precision": BadRequest(
        400,
        "invalid precision 'minute': use {precisions}",
        target="{path}?db=a&bucket=a&precision=minute",
        apis=WRITE_APIS,
    ),
    "precision-in-capitals": BadRequest(
        400, "invalid precision 'NS': use {precisions}", target="{path}?db=a&bucket=a&precision=NS", apis=WRITE_APIS
    ),
    "precision-of-v3-alone": BadRequest(
        400, "invalid precision 'auto': use {precisions}", more="precision=auto", apis=(V1, V2)
    ),
    "precision-of-v1-alone": BadRequest(
        400, "invalid precision 'h': use {precisions}", target="{path}?db=a&bucket=a&precision=h", apis=(V2, V3)
    ),
    "accept-partial-yes": BadRequest(
        400, "accept_partial='yes': give true or false", more="accept_partial=yes", apis=(V3, ARROW)
    ),
    "accept-partial-empty": BadRequest(
        400, "accept_partial='': give true or false", more="accept_partial=", apis=(V3, ARROW)
    ),
    "accept-partial-twice": BadRequest(
        400, "accept_partial is given twice", more="accept_partial=true&accept_partial=false", apis=(V3, ARROW)
    ),
    "no-sync-1": BadRequest(400, "no_sync='1': give true or false", more="no_sync=1", apis=(V3, ARROW)),
    "namespace-twice": BadRequest(400, "db is given twice", more="db=other", apis=(V3, ARROW)),
    "no-line": BadRequest(400, "incoming write was empty", body=b"\n# a comment\n", apis=(V3,)),
    "no-table": BadRequest(400, "table is missing: give &table=", target="{path}?db=a", apis=(ARROW,)),
    "lines-in-place-of-arrow": BadRequest(400, "the body begins with 6d 2c", apis=(ARROW,)),
    "no-body": BadRequest(400, "incoming write was empty", body=b"", apis=(V3, ARROW)),
    "gzip-that-is-plain": BadRequest(
        400, f"{_NO_GZIP}the body begins with 6d 2c and is not gzip; send it without Content-Encoding", headers=_GZIP
    ),
    "gzip-cut-off": BadRequest(
        400, f"{_NO_GZIP}it ends before its end mark; it was cut off", _ZIPPED[:-1], headers=_GZIP
    ),
    "gzip-header-alone": BadRequest(400, f"{_NO_GZIP}it ends before its end", _ZIPPED[:10], headers=_GZIP),
    "gzip-of-one-byte": BadRequest(400, f"{_NO_GZIP}the body begins with 1f and is not", b"\x1f", headers=_GZIP),
    "gzip-with-more-after-it": BadRequest(
        400, f"{_NO_GZIP}more bytes follow its end, 0a …; send nothing after", _ZIPPED + b"\n", headers=_GZIP
    ),
    "gzip-of-another-sum": BadRequest(400, _NO_GZIP, _ZIPPED[:-8] + bytes(4) + _ZIPPED[-4:], headers=_GZIP),
    "gzip-of-another-length": BadRequest(400, _NO_GZIP, _ZIPPED[:-4] + bytes(4), headers=_GZIP),
    "gzip-of-damaged-bytes": BadRequest(400, _NO_GZIP, _ZIPPED[:12] + b"\xff" * 8 + _ZIPPED[20:], headers=_GZIP),
    "gzip-that-is-zlib": BadRequest(
        400, f"{_NO_GZIP}the body begins with 78 9c and is not gzip", zlib.compress(LINES), headers=_GZIP
    ),
    "second-member-cut-off": BadRequest(400, f"{_NO_GZIP}it ends before", _ZIPPED + _ZIPPED[:15], headers=_GZIP),
    "zstd-that-is-plain": BadRequest(
        400,
        f"{_NO_ZSTD}the body begins with 6d 2c 68 3d and is not zstd; send it without Content-Encoding",
        headers=_ZSTD,
    ),
    "zstd-that-is-gzip": BadRequest(400, f"{_NO_ZSTD}the body begins with 1f 8b", _ZIPPED, headers=_ZSTD),
    "zstd-of-one-byte": BadRequest(400, f"{_NO_ZSTD}the body begins with 28 and is not zstd", b"\x28", headers=_ZSTD),
    "zstd-cut-off": BadRequest(400, f"{_NO_ZSTD}it ends before its end mark", _FRAME[:-1], headers=_ZSTD),
    "zstd-magic-alone": BadRequest(400, f"{_NO_ZSTD}it ends before its end mark", _FRAME[:4], headers=_ZSTD),
    "second-frame-cut-off": BadRequest(400, f"{_NO_ZSTD}it ends before", _FRAME + _FRAME[:9], headers=_ZSTD),
    "zstd-with-more-after-it": BadRequest(
        400, f"{_NO_ZSTD}more bytes follow its end; send nothing after", _FRAME + b"\n", headers=_ZSTD
    ),
    "zstd-of-an-unknown-block": BadRequest(400, _NO_ZSTD, _FRAME[:6] + b"\xc7" + _FRAME[7:], headers=_ZSTD),
    "zstd-of-another-sum": BadRequest(400, f"{_NO_ZSTD}ZSTD decompress failed: Restored data", _SUMMED, headers=_ZSTD),
    "zstd-that-needs-a-dictionary": BadRequest(400, _NO_ZSTD, _FRAME[:4] + b"\x23\xff" + _FRAME[5:], headers=_ZSTD),
    "zstd-of-a-huge-window": BadRequest(400, _NO_ZSTD, _FRAME[:5] + b"\x90" + _FRAME[6:], headers=_ZSTD),
    "gzip-that-is-zstd": BadRequest(400, f"{_NO_GZIP}the body begins with 28 b5", _FRAME, headers=_GZIP),
    "too-large-in-zstd": BadRequest(413, _TOO_LARGE_BY_API, zstd(_LONG), headers=_ZSTD),
    "too-large-in-many-frames": BadRequest(413, _TOO_LARGE_BY_API, zstd(b"#" * 1_000) * 11, headers=_ZSTD),
    "encoding-br": BadRequest(400, "unacceptable content-encoding: 'br'; use ", headers=("Content-Encoding: br",)),
    "encoding-deflate": BadRequest(
        400, "unacceptable content-encoding: 'deflate'; use ", headers=("Content-Encoding: deflate",)
    ),
    "two-encodings": BadRequest(
        400, "unacceptable content-encoding: 'gzip, gzip'; use ", headers=("Content-Encoding: gzip, gzip",)
    ),
    "two-encoding-headers": BadRequest(400, "unacceptable content-encoding: 'gzip, gzip'; use ", headers=_GZIP * 2),
    "no-length-http-1.0": BadRequest(411, _NO_LENGTH, length=(), version="1.0"),
    "no-length-http-1.1": BadRequest(411, _NO_LENGTH, length=(), headers=("Connection: close",)),
    "negative-length": BadRequest(400, _NOT_HTTP, length=("Content-Length: -7",), of_server=True),
    "length-in-words": BadRequest(400, _NOT_HTTP, length=("Content-Length: many",), of_server=True),
    "hexadecimal-length": BadRequest(400, _NOT_HTTP, length=("Content-Length: 0x18",), of_server=True),
    "two-lengths": BadRequest(400, _NOT_HTTP, length=("Content-Length: 24", "Content-Length: 12"), of_server=True),
    "length-and-chunks": BadRequest(
        400, _NOT_HTTP, length=("Content-Length: 24", "Transfer-Encoding: chunked"), of_server=True
    ),
    "transfer-in-gzip": BadRequest(
        400, _NOT_HTTP, length=("Transfer-Encoding: gzip",), of_server=True, reaches_api=True
    ),
    "transfer-in-gzip-and-chunks": BadRequest(
        400,
        "unacceptable transfer-encoding: 'gzip, chunked'; use chunked",
        b"0\r\n\r\n",
        length=("Transfer-Encoding: gzip, chunked",),
    ),
    "chunk-of-a-bad-size": BadRequest(
        400, _NOT_HTTP, b"xyz\r\n" + LINES, length=("Transfer-Encoding: chunked",), of_server=True
    ),
    "chunk-longer-than-its-size": BadRequest(
        400, _NOT_HTTP, b"3\r\n" + LINES + b"\r\n0\r\n\r\n", length=("Transfer-Encoding: chunked",), of_server=True
    ),
    "too-large": BadRequest(
        413,
        _TOO_LARGE_BY_API,
        _LONG,
    ),
    "too-large-in-chunks": BadRequest(
        413,
        _TOO_LARGE_BY_API,
        b"%x\r\n" % len(_LONG) + _LONG + b"\r\n0\r\n\r\n",
        length=("Transfer-Encoding: chunked",),
    ),
    "too-large-by-its-length-alone": BadRequest(
        413,
        _TOO_LARGE_BY_API,
        b"",
        length=("Content-Length: 99999999999999999",),
    ),
    "too-large-inflated": BadRequest(
        413,
        _TOO_LARGE_BY_API,
        gzip.compress(_LONG),
        headers=_GZIP,
    ),
    "too-large-in-many-members": BadRequest(
        413,
        _TOO_LARGE_BY_API,
        gzip.compress(b"#" * 1_000) * 11,
        headers=_GZIP,
    ),
    "space-in-the-target": BadRequest(400, _NOT_HTTP, target="{path}?db=a b&bucket=a b", of_server=True),
    "header-without-a-colon": BadRequest(400, _NOT_HTTP, headers=("no colon",), of_server=True),
    "header-name-with-a-space": BadRequest(400, _NOT_HTTP, headers=("Content Encoding: gzip",), of_server=True),
    "http-9": BadRequest(400, _NOT_HTTP, version="9.9", of_server=True),
}
"""By kind."""

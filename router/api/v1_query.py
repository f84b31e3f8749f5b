"""GET and POST /query: the statements that InfluxDB 1 clients send before they write, and no others.

A namespace exists from its first write on, so CREATE DATABASE makes nothing durable. This router remembers the name:
SHOW DATABASES, which reads the object store, then lists it for the client that asks next. Any other statement gets an
error, which says where rows are queried.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl

from common.http.app import Request, Response, json_response
from common.values.errors import PenstockError
from common.values.namespaces import why_no_namespace
from router.api.error_key import error, unavailable
from router.api.not_served import QUERIES

QUERY_BYTES_MAX = 65_536
"""Of a form body. No statement answered here comes near."""
STATEMENTS_MAX = 100
"""Of one request. Clients send one; each may be answered with every namespace there is."""
CREATED_MAX = 1_000

_NAME = r'(?:"(?P<quoted>(?:[^"\\]|\\.)+)"|(?P<bare>\w+))'
_CREATE = re.compile(rf"CREATE\s+DATABASE\s+{_NAME}(\s+WITH\s.*)?", re.IGNORECASE | re.DOTALL)
_SHOW_DATABASES = re.compile(r"SHOW\s+DATABASES", re.IGNORECASE)
_SHOW_POLICIES = re.compile(rf"SHOW\s+RETENTION\s+POLICIES(\s+ON\s+{_NAME})?", re.IGNORECASE)
_STATEMENTS = re.compile(r"""(?:[^;"']++|"(?:[^"\\]++|\\.)*+"?+|'(?:[^'\\]++|\\.)*+'?+)++""", re.DOTALL)
"""A quote that is never closed reaches to the end: were it a character like others, each would be looked for again."""
_POLICY_COLUMNS = ["name", "duration", "shardGroupDuration", "replicaN", "default"]
_NOT_HERE = f"a router answers CREATE DATABASE, SHOW DATABASES and SHOW RETENTION POLICIES only; {QUERIES}"

Values = dict[str, Any]


class QueryV1:
    """The handler."""

    def __init__(self, namespaces: Callable[[], list[str]]) -> None:
        """namespaces: those of the object store, in order; may take a while; raises PenstockError."""
        self._namespaces = namespaces
        self._listing: asyncio.Task[list[str]] | None = None
        self._created: dict[str, None] = {}

    async def answer(self, request: Request) -> Response:
        text = await _statements_of(request)
        if isinstance(text, Response):
            return text
        statements = [one.strip() for one in _STATEMENTS.findall(text) if one.strip()]
        if not statements:
            return error(400, 'missing required parameter "q"')
        if len(statements) > STATEMENTS_MAX:
            return error(400, f"{len(statements)} statements: send at most {STATEMENTS_MAX} at a time")
        try:
            stored = await self._stored() if any(map(_SHOW_DATABASES.fullmatch, statements)) else []
        except PenstockError as failure:
            return unavailable(failure.message)
        results = [{"statement_id": at, **self._result(one, stored)} for at, one in enumerate(statements)]
        return json_response(200, {"results": results})

    async def _stored(self) -> list[str]:
        """The store is listed once at a time: who asks meanwhile has the same list."""
        if self._listing is None or self._listing.done():
            self._listing = asyncio.create_task(asyncio.to_thread(self._namespaces))
        return await asyncio.shield(self._listing)

    def _result(self, statement: str, stored: Iterable[str]) -> Values:
        if match := _CREATE.fullmatch(statement):
            return self._create(_name_in(match))
        if _SHOW_DATABASES.fullmatch(statement):
            return _series("databases", ["name"], [[one] for one in sorted({*stored, *self._created})])
        if _SHOW_POLICIES.fullmatch(statement):
            return _series("", _POLICY_COLUMNS, [["autogen", "0s", "24h0m0s", 1, True]])
        return {"error": f"{' '.join(statement.split())[:60]!r}: {_NOT_HERE}"}

    def _create(self, name: str) -> Values:
        if reason := why_no_namespace(name):
            return {"error": f"invalid name {reason}"}
        if len(self._created) < CREATED_MAX:
            self._created[name] = None
        return {}


async def _statements_of(request: Request) -> str | Response:
    """`q` of the URL, else of a form body."""
    if in_url := request.query().get("q"):
        return in_url
    body = b""
    async for part in request.parts():
        body += part
        if len(body) > QUERY_BYTES_MAX:
            return error(413, f"the query is over {QUERY_BYTES_MAX} bytes")
    try:
        return dict(parse_qsl(body.decode())).get("q", "")
    except UnicodeDecodeError:
        return error(400, "the body is not text: send q=STATEMENT as a form, without Content-Encoding")


def _name_in(match: "re.Match[str]") -> str:
    quoted = match["quoted"]
    return re.sub(r"\\(.)", r"\1", quoted) if quoted else match["bare"]


def _series(name: str, columns: list[str], values: list[list[object]]) -> Values:
    series: Values = {"columns": columns, "values": values}
    return {"series": [{"name": name, **series} if name else series]}

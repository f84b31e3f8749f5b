"""What Telegraf's outputs send and how they take the answer, as its plugins do (v1.39.3, plugins/outputs/*).

Bodies are gzip, streamed while they are compressed: chunked, without a length. The v1 output asks for its database
first.
"""

import base64
import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection

from tests.support.router_fixtures import chunks

DONE, DROPPED, KEPT = "done", "dropped", "kept"

_USER_AGENT = {"User-Agent": "Telegraf/1.39.3 Go/1.25.4"}
_LINES = {**_USER_AGENT, "Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip"}
_BASIC = {"Authorization": "Basic " + base64.b64encode(b"telegraf:secret").decode()}
_FINAL_V1 = ("partial write", "unable to parse", "points beyond retention policy", "hinted handoff queue not empty")


@dataclass(frozen=True)
class Output:
    """One output plugin. at_start: target, content type and body of what it posts before the first write."""

    name: str
    target: str
    headers: Mapping[str, str]
    at_start: tuple[str, str, bytes] | None = None

    def start(self, port: int) -> int | None:
        """The status of what it asks for at its start."""
        if self.at_start is None:
            return None
        target, content_type, body = self.at_start
        headers = {**_USER_AGENT, **_BASIC, "Content-Type": content_type}
        return _post(port, target, headers, body)[0]

    def write(self, port: int, namespace: str, lines: bytes) -> str:
        """DONE: it goes on. DROPPED: the batch is given up. KEPT: it will be sent again."""
        body = chunks(gzip.compress(lines), 100)
        status, content = _post(port, self.target.format(namespace=namespace), self.headers, body)
        return self._verdict(status, content)

    def _verdict(self, status: int, content: bytes) -> str:
        if self.name == "influxdb":
            if status == 204:
                return DONE
            text = str(json.loads(content)["error"])
            if any(final in text for final in _FINAL_V1):
                return DONE
            return DROPPED if 400 <= status < 500 else KEPT
        if 200 <= status < 300:
            return DONE
        if self.name == "http":
            return KEPT
        return DROPPED if 400 <= status < 500 and status not in (401, 403, 413, 429) else KEPT


def _post(port: int, target: str, headers: Mapping[str, str], body: object) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", target, body, dict(headers), encode_chunked=not isinstance(body, bytes))  # type: ignore[arg-type]
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


OUTPUTS = (
    Output(
        "influxdb",
        "/write?consistency=any&db={namespace}&rp=autogen",
        {**_LINES, **_BASIC},
        ("/query", "application/x-www-form-urlencoded", b"q=CREATE+DATABASE+%22telegraf%22"),
    ),
    Output("influxdb_v2", "/api/v2/write?bucket={namespace}&org=o", {**_LINES, "Authorization": "Token secret"}),
    Output("influxdb_v3", "/api/v3/write_lp?db={namespace}", {**_LINES, "Authorization": "Bearer secret"}),
    Output("http", "/api/v2/write?bucket={namespace}&precision=ns", _LINES),
)

"""The write APIs as a table test needs them: how a write is asked for, and what form an error has."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from router.api.error_key import ERROR_HEADER
from router.api.writing import PARTIAL_WRITE


@dataclass(frozen=True)
class WriteApi:
    """parameter: what names the namespace. extra: what its query needs for nanoseconds."""

    name: str
    path: str
    parameter: str
    extra: str = ""

    def target(self, namespace: str, more: str = "") -> str:
        parts = (f"{self.parameter}={namespace}", self.extra, more)
        return f"{self.path}?{'&'.join(part for part in parts if part)}"

    def text_of(self, headers: Mapping[str, str], content: bytes, *, of_server: bool = False) -> str:
        """An error's text, after the checks that hold for every error of this API. headers: by lower-case name.

        of_server: it comes before any API has seen the request, and is in every API's form.
        """
        assert headers["content-type"].startswith("application/json"), headers
        values: dict[str, Any] = json.loads(content)
        if self is V2 or of_server:
            assert headers["x-platform-error-code"] == values["code"]
            assert not of_server or values.keys() == {"code", "message", "error"}
            return str(values["error" if of_server else "message"])
        assert set(values) <= ({"error"} if self is V1 else {"error", "data"}), values
        assert headers[ERROR_HEADER.lower()] == _in_header(values["error"])
        return str(values["error"])

    def refused_line(self, content: bytes) -> tuple[int, str, str]:
        """Number, reason and start of the one refused line between two good ones."""
        values: dict[str, Any] = json.loads(content)
        if self is V1:
            text = values["error"]
            assert text.startswith("partial write: unable to parse '")
            assert text.endswith(" dropped=1")
            start, _, rest = text[len("partial write: unable to parse '") : -len(" dropped=1")].partition("': line ")
            number, _, reason = rest.partition(": ")
            return int(number), reason, start
        if self is V2:
            assert values["message"].startswith("partial write: 1 of 3 lines refused:\nline 2: ")
            assert (values["line"], values["refused_count"]) == (2, 1)
        assert values["error"] == PARTIAL_WRITE
        (line,) = values["data"]
        return line["line_number"], line["error_message"], line["original_line"]


def _in_header(text: str) -> str:
    """What a header cannot hold is `?` in it."""
    line = " ".join(text.split())[:1024].encode("latin-1", "replace").decode("latin-1")
    return re.sub(r"[\0-\x1f\x7f]", "?", line)


V1 = WriteApi("v1", "/write", "db")
V2 = WriteApi("v2", "/api/v2/write", "bucket")
V3 = WriteApi("v3", "/api/v3/write_lp", "db", "precision=ns")
ARROW = WriteApi("arrow", "/api/v3/write_arrow", "db", "table=t")
WRITE_APIS = (V1, V2, V3)
"""Those of line protocol."""

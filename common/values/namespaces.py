"""What a namespace may be called."""

from common.values.shown import shown

NAMESPACE_BYTES_MAX = 511
"""InfluxDB 3's limit; a record's header block has room for it."""


def why_no_namespace(name: str) -> str:
    """Why `name`, which is not empty, cannot be a namespace's, to follow what gave it; "" where it can."""
    size = len(name.encode("utf-8", "surrogatepass"))
    if size > NAMESPACE_BYTES_MAX:
        return f"of {size} bytes: give at most {NAMESPACE_BYTES_MAX}"
    if min(name) < " ":
        return f"{shown(name)}: give a name without control characters"
    return ""

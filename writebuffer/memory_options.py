"""The options of a memory buffer beside its name, by its constructor or by its URL.

memory:NAME?capacity_bytes=N&retention_bytes=N&retention_records=N&retention_s=S&latency_s=S
"""

from dataclasses import dataclass, fields
from urllib.parse import parse_qsl

from common.values.errors import Misconfigured

CAPACITY_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class MemoryOptions:
    """Each of one sequencer; None: without limit.

    capacity_bytes: over it appends are refused until something is trimmed.
    retention_bytes, retention_records, retention_s: records beyond these, or with an older append time, are
    removed by themselves, as by a broker's retention; cursors below the first offset left get OffsetTrimmed.
    latency_s: from the append to its acknowledgement; until then no reader sees the record.
    """

    capacity_bytes: int = CAPACITY_BYTES
    retention_bytes: int | None = None
    retention_records: int | None = None
    retention_s: float | None = None
    latency_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("capacity_bytes", "retention_bytes", "retention_records", "retention_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise Misconfigured(f"{name} is {value}: give more than 0, or leave it out", setting=name)
        if not 0 <= self.latency_s <= 3600:
            raise Misconfigured(f"latency_s is {self.latency_s}: give 0 to 3600", setting="latency_s")
        if self.retention_bytes is not None and self.retention_bytes > self.capacity_bytes:
            raise Misconfigured(
                f"retention_bytes {self.retention_bytes} is over capacity_bytes {self.capacity_bytes}: appends would "
                "be refused before anything goes; lower it, or raise capacity_bytes",
                setting="retention_bytes",
            )

    @classmethod
    def from_query(cls, query: str) -> "MemoryOptions":
        """Parse what follows the `?` of the URL. Raises Misconfigured, naming the option and what there is."""
        known = {spec.name: float if spec.name.endswith("_s") else int for spec in fields(cls)}
        values: dict[str, float] = {}
        for name, text in parse_qsl(query, keep_blank_values=True):
            if name not in known:
                raise Misconfigured(f"unknown option {name!r}; there are {', '.join(known)}", setting=name)
            try:
                values[name] = known[name](text)
            except ValueError:
                kind = "a whole number" if known[name] is int else "a number of seconds"
                raise Misconfigured(f"{name}: {text!r} is not {kind}", setting=name) from None
        return cls(**values)  # type: ignore[arg-type]

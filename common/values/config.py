"""Settings: one frozen dataclass for each component, parsed once at the edge.

Every setting has one name. `late_arrival_window_s` is the flag --late-arrival-window-s, the variable
PENSTOCK_LATE_ARRIVAL_WINDOW_S and the key late_arrival_window_s in the TOML file; a flag wins over the environment, the
environment over the file, the file over the default. Relations between settings are checked when the dataclass is made,
with a message that says what to change. Imported by the command line before anything else: it imports no library.
"""

import dataclasses
import math
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from common.values.addresses import Proxies, is_every_address, why_no_host
from common.values.errors import Misconfigured

C = TypeVar("C")

MIB = 1024 * 1024
PARSERS_MAX = 64
_UNITS = {"": 1, "b": 1, "kib": 1024, "mib": MIB, "gib": 1024 * MIB, "kb": 1000, "mb": 10**6, "gb": 10**9}
_SIZE = re.compile(r"(-?\d+)\s*([a-zA-Z]*)")


def setting(default: Any, help: str, *, choices: tuple[str, ...] = ()) -> Any:
    """A dataclass field that is a setting; `help` is what --help and the docs say."""
    return field(default=default, metadata={"help": help, "choices": choices})


@dataclass(frozen=True)
class ClusterConfig:
    """Where the cluster's data is; the same for every process of it."""

    data: str = setting("./penstock-data", "Folder of the cluster on this machine: log/ and store/ are made in it.")
    write_buffer: str = setting("", "URL of the write buffer (default: file:// and DATA/log).")
    store: str = setting("", "URL of the object store (default: file:// and DATA/store).")
    sequencers: int = setting(4, "Number of sequencers; fixed when the cluster is made.")
    cluster_id: str = setting("", "Id of the cluster to join: a store of another cluster, or an empty one, is refused.")

    def __post_init__(self) -> None:
        if not 1 <= self.sequencers <= 999:
            raise Misconfigured(f"sequencers is {self.sequencers}: give 1 to 999", setting="sequencers")

    @property
    def data_folder(self) -> Path:
        return Path(self.data).absolute()

    @property
    def write_buffer_url(self) -> str:
        return self.write_buffer or f"file://{self.data_folder}/log"

    @property
    def store_url(self) -> str:
        return self.store or f"file://{self.data_folder}/store"


@dataclass(frozen=True)
class RetentionConfig:
    """How much persisted history stays in the write buffer, for replays. The owner of the buffer trims the rest."""

    keep_age_s: float = setting(86_400.0, "Persisted records stay in the write buffer this long, for replays.")
    keep_bytes: int = setting(
        10 * 1024 * MIB,
        "Each sequencer keeps at most about this much of persisted records, if the write buffer knows its size "
        "(Kafka does not).",
    )
    trim_interval_s: float = setting(60.0, "How often the write buffer is trimmed to keep_age_s and keep_bytes.")

    def __post_init__(self) -> None:
        _positive(self, "trim_interval_s")
        if not (self.keep_age_s >= 0 and self.keep_bytes >= 0):  # nan is neither
            raise Misconfigured(
                f"keep_age_s is {self.keep_age_s} and keep_bytes {self.keep_bytes}: give 0 (keep no history) or more"
            )


_HOST_HELP = "Address that router and ingesters bind, such as ::1; 0.0.0.0 is all of IPv4, :: all of both."


@dataclass(frozen=True)
class RouterConfig:
    host: str = setting("127.0.0.1", _HOST_HELP)
    router_host: str = setting("", "Address that the router binds (default: host).")
    port: int = setting(8086, "HTTP port; 0 chooses a free one.")
    body_bytes_max: int = setting(10 * MIB, "Largest request body, after decompression; more is answered 413.")
    in_flight_bytes_max: int = setting(
        32 * MIB,
        "Body bytes in memory at once; more is answered 503 with Retry-After. Only bodies count; parsing needs a few "
        "times as much memory.",
    )
    connections_max: int = setting(
        2048,
        "HTTP connections at once; one client may have half of what others leave. More are answered 503 and closed.",
    )
    trusted_proxies: str = setting(
        "",
        "Addresses and networks, separated by commas, whose X-Forwarded-For is believed. A client is an address (an "
        "IPv6 /64): without this, all clients behind one proxy are one.",
    )
    client_requests_per_s: float = setting(
        0.0, "Writes of one client per second, over ten seconds; more are answered 429. 0: no limit."
    )
    client_bytes_per_s: int = setting(
        0, "Bytes of bodies of one client per second, over ten seconds; more are answered 429. 0: no limit."
    )
    batch_bytes_max: int = setting(MIB, "Bodies of one namespace are parsed together up to this size.")
    tables_max: int = setting(
        10_000, "Tables of one namespace; lines that would make a further one are refused. 0: no limit."
    )
    row_age_max_s: float = setting(
        0.0, "Lines whose time is older than this are refused; 0: none is too old. Rows already stored stay."
    )
    row_ahead_max_s: float = setting(
        0.0, "Lines whose time is further in the future than this are refused; 0: none is too far."
    )
    parsers: int = setting(0, "Worker processes that parse; 0 chooses one for each core, at most 2.")
    append_timeout_s: float = setting(30.0, "How long a request waits for durability before it is answered 503.")
    shutdown_timeout_s: float = setting(20.0, "How long SIGTERM waits for requests in flight.")

    def __post_init__(self) -> None:
        _positive(self, "body_bytes_max", "in_flight_bytes_max", "connections_max", "batch_bytes_max")
        _positive(self, "append_timeout_s")
        _not_negative(self, "client_requests_per_s", "client_bytes_per_s")
        _proxies(self, "trusted_proxies")
        _port(self, "port")
        _host(self, "host", "router_host")
        _not_negative(self, "shutdown_timeout_s", "tables_max", "row_age_max_s", "row_ahead_max_s")
        if not 0 <= self.parsers <= PARSERS_MAX:
            raise Misconfigured(
                f"parsers is {self.parsers}: give 1 to {PARSERS_MAX}, or 0 for one for each core, at most 2",
                setting="parsers",
            )
        if self.in_flight_bytes_max < self.body_bytes_max:
            raise Misconfigured(
                f"in_flight_bytes_max {self.in_flight_bytes_max} is below body_bytes_max {self.body_bytes_max}: "
                "the largest body could never be admitted; raise the first or lower the second"
            )

    @property
    def workers(self) -> int:
        """How many processes parse."""
        return self.parsers or min(2, os.cpu_count() or 1)

    @property
    def listen_host(self) -> str:
        return self.router_host or self.host

    @property
    def host_setting(self) -> str:
        """The setting that `listen_host` comes from."""
        return "router_host" if self.router_host else "host"


@dataclass(frozen=True)
class IngesterConfig:
    host: str = setting("127.0.0.1", _HOST_HELP)
    ingester_host: str = setting("", "Address that the ingesters bind (default: host).")
    http_port: int = setting(8100, "HTTP port of sequencer 0; sequencer n has this + n. 0 chooses a free one.")
    flight_port: int = setting(8200, "Flight port of sequencer 0; sequencer n has this + n. 0 chooses a free one.")
    advertise_host: str = setting("", "Host by which queries reach this ingester (default: the host bound).")
    late_arrival_window_s: float = setting(300.0, "How long rows wait for late ones before they may be persisted.")
    persist_row_threshold: int = setting(1_000_000, "A partition with this many settled rows is persisted.")
    persist_age_threshold_s: float = setting(1800.0, "A partition whose oldest rows wait this long is persisted.")
    soft_memory_bytes: int = setting(512 * MIB, "Above this the partition that frees most memory is persisted.")
    hard_memory_bytes: int = setting(1024 * MIB, "Above this polling stops until persisting has freed memory.")
    log_bytes_max: int = setting(
        1024 * MIB,
        "Above this many bytes of records from the persisted offset on, partitions that hold it back are persisted.",
    )
    log_records_max: int = setting(
        1_000_000,
        "The same for the number of records: each costs some 300 bytes of memory until then, and time at the next "
        "start. At twice either limit polling stops.",
    )
    file_bytes_max: int = setting(256 * MIB, "Persisted files roll at about this size.")
    persist_workers: int = setting(2, "Persist jobs that run at once.")
    tick_s: float = setting(1.0, "How often it is decided what to persist.")
    on_stop: str = setting(
        "persist", "At SIGTERM: persist what is buffered, or leave it in the log.", choices=("persist", "leave")
    )
    stop_timeout_s: float = setting(
        30.0,
        "How long a stop waits for an object store that does not answer. What is not persisted by then stays in the "
        "log, and the exit code is 3.",
    )
    stop_deadline_s: float = setting(
        90.0,
        "How long a stop may take in all, however much is left to persist. The rest stays in the log; the exit code "
        "is 3. Whoever kills what does not stop must wait 30 s longer, as penstock up does.",
    )
    accept_loss: bool = setting(
        False, "Start although the write buffer lost records that were not persisted; the gap is recorded."
    )

    def __post_init__(self) -> None:
        _positive(
            self,
            "late_arrival_window_s",
            "persist_row_threshold",
            "persist_age_threshold_s",
            "soft_memory_bytes",
            "hard_memory_bytes",
            "log_bytes_max",
            "log_records_max",
            "file_bytes_max",
            "persist_workers",
            "tick_s",
            "stop_timeout_s",
            "stop_deadline_s",
        )
        _port(self, "http_port", "flight_port")
        _host(self, "host", "ingester_host", "advertise_host")
        if self.persist_age_threshold_s < self.late_arrival_window_s:
            raise Misconfigured(
                f"persist_age_threshold_s {self.persist_age_threshold_s} is below late_arrival_window_s "
                f"{self.late_arrival_window_s}: rows would be persisted before their window is over; raise the first "
                "or lower the second"
            )
        if self.soft_memory_bytes > self.hard_memory_bytes:
            raise Misconfigured(
                f"soft_memory_bytes {self.soft_memory_bytes} is above hard_memory_bytes {self.hard_memory_bytes}: "
                "polling would stop before anything is persisted; lower the first or raise the second"
            )
        if self.log_records_max > self.log_bytes_max:
            raise Misconfigured(
                f"log_records_max {self.log_records_max} is above log_bytes_max {self.log_bytes_max}: a record has "
                "more than one byte, so the first would never be reached; lower it or raise the second"
            )
        if self.on_stop not in ("persist", "leave"):
            raise Misconfigured(f"on_stop is {self.on_stop!r}: give persist or leave", setting="on_stop")

    @property
    def listen_host(self) -> str:
        return self.ingester_host or self.host

    @property
    def host_setting(self) -> str:
        """The setting that `listen_host` comes from."""
        return "ingester_host" if self.ingester_host else "host"


def _positive(config: Any, *names: str) -> None:
    for name in names:
        if getattr(config, name) <= 0:
            raise Misconfigured(f"{name} is {getattr(config, name)}: give a number above 0", setting=name)


def _not_negative(config: Any, *names: str) -> None:
    for name in names:
        if not getattr(config, name) >= 0:  # nan is neither
            raise Misconfigured(f"{name} is {getattr(config, name)}: give 0 or more", setting=name)


def _port(config: Any, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(config, name) <= 65535:
            raise Misconfigured(f"{name} is {getattr(config, name)}: give 0 to 65535", setting=name)


def _host(config: Any, *names: str) -> None:
    """`host` is required; another host setting that is empty counts as not given."""
    for name in names:
        host = getattr(config, name)
        if (host or name == "host") and (reason := why_no_host(host)):
            raise Misconfigured(f"{name} is {host!r}: {reason}", setting=name)
    advertised = getattr(config, "advertise_host", "")
    if is_every_address(advertised):
        raise Misconfigured(
            f"advertise_host is {advertised!r}, which no query can connect to: give this machine's name or address",
            setting="advertise_host",
        )


def _proxies(config: Any, name: str) -> None:
    try:
        Proxies.parse(getattr(config, name))
    except ValueError as error:
        raise Misconfigured(f"{name}: {error}; give addresses or networks such as 10.0.0.0/8", setting=name) from None


KINDS = (ClusterConfig, RouterConfig, IngesterConfig, RetentionConfig)


def read_file(path: str | None) -> dict[str, Any]:
    """The TOML file's settings, as it wrote them. Raises Misconfigured naming path and line, or an unknown key."""
    if path is None:
        return {}
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise Misconfigured(
            f"config file {path}: {error.strerror}; correct --config or PENSTOCK_CONFIG", path=path
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"config file {path}: {error}", path=path) from None
    known = {f.name for kind in KINDS for f in dataclasses.fields(kind)}
    for key in values:
        if key not in known:
            raise Misconfigured(f"config file {path}: unknown setting {key!r}; known are {', '.join(sorted(known))}")
    return values


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"PENSTOCK_{name.upper()}"


def resolve(
    kind: type[C], flags: Mapping[str, Any], file: Mapping[str, Any], environ: Mapping[str, str] = os.environ
) -> C:
    """The settings of one component: flags (None = not given) over environment over file over defaults.

    Raises Misconfigured naming the flag, variable or key with the bad value.
    """
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    for spec in dataclasses.fields(kind):  # type: ignore[arg-type]
        if flags.get(spec.name) is not None:
            where, value = f"--{spec.name.replace('_', '-')}", flags[spec.name]
        elif variable(spec.name) in environ:
            where, value = variable(spec.name), environ[variable(spec.name)]
        elif spec.name in file:
            where, value = f"{spec.name} in the config file", file[spec.name]
        else:
            continue
        values[spec.name] = convert(spec, value, where)
        places[spec.name] = where
    try:
        return kind(**values)
    except Misconfigured as error:
        if (name := error.details.get("setting")) not in places:
            raise
        raise Misconfigured(f"{error} (set by {places[name]})", **error.details) from None


def convert(spec: "dataclasses.Field[Any]", value: Any, where: str) -> Any:
    """`value` as the setting's type; sizes may carry one of _UNITS. Raises Misconfigured naming `where`."""
    kind: type = spec.type if isinstance(spec.type, type) else str
    try:
        if kind is bool:
            return _boolean(value)
        if kind is int:
            return _whole(spec.name, value)
        if kind is float and not isinstance(value, bool) and math.isfinite(number := float(value)):
            return number
        if kind is str and isinstance(value, str):
            if spec.metadata["choices"] and value not in spec.metadata["choices"]:
                raise ValueError(f"is not one of {', '.join(spec.metadata['choices'])}")
            return value
    except (ValueError, TypeError) as error:
        reason = str(error) if str(error).startswith("is not") else f"is not a {_kind(spec)}"
        raise Misconfigured(f"{where}: {value!r} {reason}{_by_kubernetes(value)}", setting=spec.name) from None
    raise Misconfigured(f"{where}: {value!r} is not a {_kind(spec)}", setting=spec.name)


def _by_kubernetes(value: Any) -> str:
    if not str(value).startswith(("tcp://", "udp://")):
        return ""
    return "; Kubernetes sets this for a service called penstock: give the pod enableServiceLinks: false"


def _kind(spec: "dataclasses.Field[Any]") -> str:
    """What a value has to be."""
    if counts_seconds(spec.name):
        return "number of seconds"
    return {bool: "yes or no", int: "whole number", float: "number", str: "text"}[spec.type]  # type: ignore[index]


def counts_seconds(name: str) -> bool:
    """Whether a setting is a time; of the others that end in `_s` each is a rate."""
    return name.endswith("_s") and not name.endswith("_per_s")


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if str(value).lower() not in words:
        raise ValueError("is not yes or no")
    return words[str(value).lower()]


def _whole(name: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match or (match[2] and "bytes" not in name) or match[2].lower() not in _UNITS:
        raise ValueError("is not a whole number" + (" or a size such as 512MiB" if "bytes" in name else ""))
    return int(match[1]) * _UNITS[match[2].lower()]


def to_environment(*configs: Any) -> dict[str, str]:
    """The settings as variables, for a child process."""
    return {
        variable(spec.name): str(getattr(config, spec.name))
        for config in configs
        for spec in dataclasses.fields(config)
    }

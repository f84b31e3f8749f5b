"""Bodies of line protocol as three kinds of clients send them, for benchmarks. The same seed gives the same bytes."""

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from random import Random

from penstock.writing.devops import DevopsLines

START_NS = 1_750_000_000_000_000_000
HOSTS = 100

_TELEGRAF_FLOATS = {
    "cpu": ("usage_user", "usage_system", "usage_idle", "usage_iowait"),
    "mem": ("used_percent", "available_percent"),
    "disk": ("used_percent", "inodes_used_percent"),
    "system": ("load1", "load5", "load15"),
    "processes": (),
    "swap": ("used_percent",),
    "diskio": (),
    "net": (),
    "netstat": (),
    "kernel": (),
    "nginx": (),
    "docker_container_cpu": ("usage_percent",),
    "docker_container_mem": ("usage_percent",),
    "postgresql": ("blk_read_time",),
    "temp": ("temp",),
}
_TELEGRAF_INTEGERS = {
    "cpu": (),
    "mem": ("used", "free", "cached", "buffered"),
    "disk": ("total", "free", "used"),
    "system": ("uptime", "n_cpus", "n_users"),
    "processes": ("blocked", "running", "sleeping", "total", "zombies"),
    "swap": ("used", "free", "total"),
    "diskio": ("reads", "writes", "read_bytes", "write_bytes", "io_time"),
    "net": ("bytes_sent", "bytes_recv", "packets_sent", "packets_recv", "err_in", "drop_in"),
    "netstat": ("tcp_established", "tcp_time_wait", "tcp_listen", "udp_socket"),
    "kernel": ("boot_time", "context_switches", "interrupts", "processes_forked"),
    "nginx": ("accepts", "active", "handled", "requests"),
    "docker_container_cpu": ("usage_total", "throttling_periods"),
    "docker_container_mem": ("usage", "max_usage", "limit"),
    "postgresql": ("xact_commit", "xact_rollback", "blks_hit", "blks_read"),
    "temp": (),
}
_TELEGRAF_TAGS = {
    "cpu": ("cpu", ("cpu0", "cpu1", "cpu-total")),
    "disk": ("device", ("sda1", "sdb1")),
    "diskio": ("name", ("sda", "sdb")),
    "net": ("interface", ("eth0", "lo")),
    "docker_container_cpu": ("container_name", ("web", "db", "cache")),
    "docker_container_mem": ("container_name", ("web", "db", "cache")),
    "postgresql": ("db", ("postgres", "app")),
    "temp": ("sensor", ("coretemp_core_0", "coretemp_core_1")),
}


def devops(seed: int = 1, hosts: int = HOSTS) -> Iterator[bytes]:
    """TSBS's devops case: nine tables, ten tags, about 400 bytes a line."""
    return DevopsLines(seed=seed, hosts=hosts, start_ns=START_NS).lines()


def telegraf(seed: int = 1, hosts: int = HOSTS) -> Iterator[bytes]:
    """Fifteen tables as Telegraf's input plugins have them: one to three tags, some strings, about 200 bytes a line."""
    random = Random(seed)
    for tick in count():
        time_ns = START_NS + tick * 10**10
        for host in range(hosts):
            for table in _TELEGRAF_FLOATS:
                key, values = _TELEGRAF_TAGS.get(table, ("", ("",)))
                for value in values:
                    tag = f",{key}={value}" if key else ""
                    fields = [f"{name}={random.random() * 100:.13g}" for name in _TELEGRAF_FLOATS[table]]
                    fields += [f"{name}={random.getrandbits(34)}i" for name in _TELEGRAF_INTEGERS[table]]
                    if table == "system":
                        fields.append(f'uptime_format="{tick % 31} days, {tick % 24:2}:{host % 60:02}"')
                    head = f"{table}{tag},dc=fra1,env=production,host=web-{host:03}.fra1.example.com"
                    yield f"{head} {','.join(fields)} {time_ns}".encode()


def iot(seed: int = 1, hosts: int = 1000) -> Iterator[bytes]:
    """Short lines of sensors: one table, two tags, two fields, about 60 bytes a line."""
    random = Random(seed)
    for tick in count():
        time_ns = START_NS + tick * 10**10
        for host in range(hosts):
            value = random.random() * 40
            yield f"m,id=s{host:04},site=a{host % 7} t={value:.2f},rssi=-{random.randrange(99)}i {time_ns}".encode()


CORPORA: Mapping[str, Callable[[], Iterator[bytes]]] = {"devops": devops, "telegraf": telegraf, "iot": iot}


def bodies(lines: Iterator[bytes], body_bytes: int) -> Iterator[bytes]:
    """Bodies of whole lines, each of at least `body_bytes`."""
    held: list[bytes] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line) + 1
        if size >= body_bytes:
            yield b"\n".join(held) + b"\n"
            held, size = [], 0

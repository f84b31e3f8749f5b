"""Settings: a flag wins over the environment, that over the file, that over the default; a mistake says where it is."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from common.values import config
from common.values.config import KINDS, ClusterConfig, IngesterConfig, RouterConfig
from common.values.errors import Misconfigured


def resolve(
    kind: type[Any], flags: dict[str, Any] | None = None, file: dict[str, Any] | None = None, **env: str
) -> Any:
    return config.resolve(kind, flags or {}, file or {}, {f"PENSTOCK_{name.upper()}": v for name, v in env.items()})


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default() -> None:
    """Each layer counts where the ones above are silent."""
    assert resolve(RouterConfig).port == 8086
    assert resolve(RouterConfig, file={"port": 1}).port == 1
    assert resolve(RouterConfig, file={"port": 1}, port="2").port == 2
    assert resolve(RouterConfig, {"port": 3}, {"port": 1}, port="2").port == 3


def test_a_flag_not_given_leaves_the_word_to_the_environment() -> None:
    """None is "not given"; 0 and False are given."""
    assert resolve(RouterConfig, {"port": None}, port="2").port == 2
    assert resolve(RouterConfig, {"port": 0}, port="2").port == 0
    assert resolve(IngesterConfig, {"accept_loss": False}, accept_loss="yes").accept_loss is False


def test_settings_reach_a_child_process_through_its_environment() -> None:
    """to_environment and resolve are inverse, for every setting of every component."""
    given = (
        ClusterConfig(data="/x y", sequencers=7, store="memory:"),
        RouterConfig(port=0, append_timeout_s=0.25),
        IngesterConfig(on_stop="leave", accept_loss=True, soft_memory_bytes=1),
    )
    for one in given:
        assert config.resolve(type(one), {}, {}, config.to_environment(one)) == one


def test_every_setting_has_help_and_a_name_of_its_own() -> None:
    """A name that two components share means the same in both: the same default and type."""
    seen: dict[str, Any] = {}
    for kind in KINDS:
        for spec in dataclasses.fields(kind):
            assert spec.metadata["help"].endswith("."), spec.name
            assert seen.setdefault(spec.name, (spec.type, spec.default)) == (spec.type, spec.default)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("7", 7),
        ("7b", 7),
        ("1KiB", 1024),
        ("2 MiB", 2 * 1024**2),
        ("3gib", 3 * 1024**3),
        ("1kB", 1000),
        ("5MB", 5 * 10**6),
    ],
)
def test_sizes_carry_units(text: str, size: int) -> None:
    """A size may be written with KiB, MiB, GiB, kB, MB or GB, in any case."""
    assert resolve(IngesterConfig, soft_memory_bytes=text, hard_memory_bytes="999GiB").soft_memory_bytes == size


@pytest.mark.parametrize("text", ["1", "true", "YES", "0", "False", "no"])
def test_yes_and_no_have_the_usual_words(text: str) -> None:
    """What people and programs write for a switch is understood."""
    assert resolve(IngesterConfig, accept_loss=text).accept_loss is (text.lower() in ("1", "true", "yes"))


@pytest.mark.parametrize(
    ("kind", "name", "value", "message"),
    [
        (RouterConfig, "port", "http", "'http' is not a whole number"),
        (RouterConfig, "port", "8_086", "is not a whole number"),
        (RouterConfig, "port", "tcp://10.0.0.1:80", "'tcp://10.0.0.1:80' is not a whole number; Kubernetes sets this"),
        (RouterConfig, "port", "1KiB", "'1KiB' is not a whole number"),
        (RouterConfig, "body_bytes_max", "10 pounds", "is not a whole number or a size such as 512MiB"),
        (RouterConfig, "append_timeout_s", "soon", "'soon' is not a number of seconds"),
        (RouterConfig, "append_timeout_s", "nan", "'nan' is not a number of seconds"),
        (RouterConfig, "row_age_max_s", "1h", "'1h' is not a number of seconds"),
        (RouterConfig, "row_ahead_max_s", "inf", "'inf' is not a number of seconds"),
        (RouterConfig, "client_requests_per_s", "many", "'many' is not a number"),
        (IngesterConfig, "accept_loss", "maybe", "'maybe' is not yes or no"),
        (IngesterConfig, "on_stop", "wait", "'wait' is not one of persist, leave"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_its_place(
    kind: type[Any], name: str, value: str, message: str
) -> None:
    """The message names flag, variable or file key, and what was expected."""
    flag = f"--{name.replace('_', '-')}"
    for where, given in (
        (flag, {"flags": {name: value}}),
        (f"PENSTOCK_{name.upper()}", {name: value}),
        (f"{name} in the config file", {"file": {name: value}}),
    ):
        with pytest.raises(Misconfigured, match=f"^{re.escape(where)}: .*{re.escape(message)}") as refused:
            resolve(kind, **given)  # type: ignore[arg-type]
        assert refused.value.setting == name


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("parsers", "-1", "parsers is -1: give 1 to 64, or 0 for one for each core, at most 2"),
        ("tables_max", "-1", "tables_max is -1: give 0 or more"),
        ("connections_max", "-3", "connections_max is -3: give a number above 0"),
        ("client_bytes_per_s", "-1KiB", "client_bytes_per_s is -1024: give 0 or more"),
        ("row_age_max_s", "-5", "row_age_max_s is -5.0: give 0 or more"),
        ("trusted_proxies", "10.0.0.1/8", "trusted_proxies: 10.0.0.1/8 has host bits set; give addresses"),
        ("port", "70000", "port is 70000: give 0 to 65535"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_range_and_its_place(name: str, value: str, message: str) -> None:
    """A variable that somebody left in the environment is found as fast as a flag; a negative number is a number."""
    for where, given in (
        (f"--{name.replace('_', '-')}", {"flags": {name: value}}),
        (f"PENSTOCK_{name.upper()}", {name: value}),
        (f"{name} in the config file", {"file": {name: value}}),
    ):
        with pytest.raises(Misconfigured, match=f"^{re.escape(message)}.* \\(set by {re.escape(where)}\\)$") as refused:
            resolve(RouterConfig, **given)  # type: ignore[arg-type]
        assert refused.value.setting == name


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (RouterConfig, "port", True),
        (RouterConfig, "port", 1.5),
        (RouterConfig, "host", 5),
        (IngesterConfig, "tick_s", True),
    ],
)
def test_a_file_value_of_another_type_is_refused(kind: type[Any], name: str, value: Any) -> None:
    """TOML has types of its own; none of them is bent."""
    with pytest.raises(Misconfigured, match=f"^{name} in the config file: {value!r} is not a "):
        resolve(kind, file={name: value})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClusterConfig(sequencers=0), "sequencers is 0: give 1 to 999"),
        (lambda: ClusterConfig(sequencers=1000), "sequencers is 1000: give 1 to 999"),
        (lambda: RouterConfig(port=-1), "port is -1: give 0 to 65535"),
        (lambda: RouterConfig(port=65536), "port is 65536: give 0 to 65535"),
        (lambda: RouterConfig(append_timeout_s=0), "append_timeout_s is 0: give a number above 0"),
        (lambda: RouterConfig(shutdown_timeout_s=-1), "shutdown_timeout_s is -1: give 0 or more"),
        (lambda: RouterConfig(in_flight_bytes_max=1), "the largest body could never be admitted; raise the first or"),
        (lambda: IngesterConfig(http_port=70000), "http_port is 70000: give 0 to 65535"),
        (lambda: IngesterConfig(persist_workers=0), "persist_workers is 0: give a number above 0"),
        (lambda: IngesterConfig(persist_age_threshold_s=1), "before their window is over; raise the first or lower"),
        (lambda: IngesterConfig(soft_memory_bytes=2**40), "before anything is persisted; lower the first or raise"),
        (lambda: IngesterConfig(on_stop="wait"), "on_stop is 'wait': give persist or leave"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_what_to_change(make: Any, message: str) -> None:
    """Limits and relations between settings are checked when they are put together."""
    with pytest.raises(Misconfigured, match=re.escape(message)):
        make()


def test_a_config_file_is_read(tmp_path: Path) -> None:
    """Keys are the settings' names, at the top of the file; values as TOML or with a unit."""
    path = tmp_path / "penstock.toml"
    path.write_text('sequencers = 2\nsoft_memory_bytes = "1MiB"\ntick_s = 0.5\n')
    values = config.read_file(str(path))
    assert config.resolve(ClusterConfig, {}, values, {}).sequencers == 2
    ingester = config.resolve(IngesterConfig, {}, values, {})
    assert (ingester.soft_memory_bytes, ingester.tick_s) == (1024**2, 0.5)
    assert config.read_file(None) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"port = = 1", r"penstock\.toml: Invalid value \(at line 1, column"),
        (b"\xff", r"penstock\.toml: .*utf-8"),
        (b"prot = 1", r"penstock\.toml: unknown setting 'prot'; known are .*port"),
        (b"[router]\nport = 1", "unknown setting 'router'"),
    ],
)
def test_a_config_file_with_a_mistake_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    """The message names the file, and the line or the unknown key."""
    path = tmp_path / "penstock.toml"
    path.write_bytes(text)
    with pytest.raises(Misconfigured, match=message):
        config.read_file(str(path))


def test_a_missing_config_file_is_refused(tmp_path: Path) -> None:
    """A file that was named and is not there is a mistake, not an empty file."""
    with pytest.raises(Misconfigured, match=r"nowhere\.toml: No such file or directory; correct --config"):
        config.read_file(str(tmp_path / "nowhere.toml"))


def test_buffer_and_store_lie_below_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without URLs of their own they are file:// URLs below --data, absolute from any working folder."""
    monkeypatch.chdir(tmp_path)
    cluster = ClusterConfig(data="./here")
    assert cluster.store_url == f"file://{tmp_path}/here/store"
    assert cluster.write_buffer_url == f"file://{tmp_path}/here/log"
    assert ClusterConfig(store="memory:", write_buffer="memory:").store_url == "memory:"
    assert ClusterConfig(store="memory:", write_buffer="memory:").write_buffer_url == "memory:"

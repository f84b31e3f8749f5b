"""Command-line options made from the settings' dataclasses of common/values/config.py.

`@settings(ClusterConfig, RouterConfig)` gives a command one option for each setting and --config, and calls it with
frozen dataclasses named after their classes: `cluster`, `router`. Every option defaults to None ("not given"), so that
common.values.config.resolve alone decides: flag over environment over TOML file over default.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import click

from common.values import config
from common.values.errors import InvalidRequest
from common.values.namespaces import why_no_namespace

Command = Callable[..., Any]
Spec = dataclasses.Field[Any]

url_option = click.option(
    "--url",
    default="http://127.0.0.1:8086",
    envvar="PENSTOCK_URL",
    metavar="URL",
    help="The router. [env: PENSTOCK_URL; default: http://127.0.0.1:8086]",
)


def checked_namespace(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """`value`; a callback of click. A router would refuse it by the name of its API's parameter, `bucket`."""
    if value is None:
        return None
    if reason := why_no_namespace(value) if value else "is empty: give a name":
        raise InvalidRequest(f"--namespace {reason}")
    return value


namespace_option = click.option(
    "--namespace",
    callback=checked_namespace,
    required=True,
    envvar="PENSTOCK_NAMESPACE",
    metavar="NAME",
    help="What clients call a bucket or database. [env: PENSTOCK_NAMESPACE]",
)
timeout_option = click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    default=60.0,
    metavar="SECONDS",
    help="How long one batch is tried while the router is busy or away. [default: 60]",
)

sequencer_option = click.option(
    "--sequencer", type=click.IntRange(min=0), metavar="N", help="Only this one. [default: all]"
)
grace_option = click.option(
    "--grace",
    "grace_s",
    type=click.FloatRange(min=0),
    default=3600.0,
    metavar="SECONDS",
    help="What is younger than this may be a persist under way. [default: 3600]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")

_OPTIONS = "Options"


class SettingOption(click.Option):
    """An option that --help lists under `section`."""

    def __init__(self, *args: Any, section: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section


class SectionedCommand(click.Command):
    """A command whose --help lists its own options first, then the settings of each component."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {_OPTIONS: []}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)):
                sections.setdefault(getattr(parameter, "section", _OPTIONS), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


class WholeHelpGroup(click.Group):
    """A group whose --help shows the first sentence of each command whole; click cuts it to one line."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(limit=1000)) for name, one in commands.items() if one])


def settings(*kinds: type[Any], without: Sequence[str] = ()) -> Callable[[Command], Command]:
    """Add the options of `kinds` but those in `without`; a name that two of them share is one option for both."""
    owners: dict[str, list[type[Any]]] = {}
    for kind in kinds:
        for spec in dataclasses.fields(kind):
            owners.setdefault(spec.name, []).append(kind)
    names = [name for name in owners if name not in without]

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_settings(*, config_file: str | None, **values: Any) -> Any:
            flags = {name: values.pop(name) for name in names}
            file = config.read_file(config_file)
            resolved = {parameter_name(kind): config.resolve(kind, flags, file, os.environ) for kind in kinds}
            return command(**resolved, **values)

        decorated = _config_option(with_settings)
        for name in reversed(names):
            decorated = _option(owners[name], name)(decorated)
        return decorated

    return decorate


def parameter_name(kind: type[Any]) -> str:
    """ClusterConfig → cluster."""
    return kind.__name__.removesuffix("Config").lower()


def _config_option(command: Command) -> Command:
    return click.option(
        "--config",
        "config_file",
        metavar="FILE",
        envvar="PENSTOCK_CONFIG",
        help="TOML file of settings; flags and variables win over it. [env: PENSTOCK_CONFIG]",
    )(command)


def _option(owners: list[type[Any]], name: str) -> Callable[[Command], Command]:
    spec = next(spec for spec in dataclasses.fields(owners[0]) if spec.name == name)
    section = " and ".join(map(parameter_name, owners)).capitalize()
    flag = name.replace("_", "-")
    if spec.type is bool:
        return click.option(
            f"--{flag}/--no-{flag}", name, default=None, help=_help(spec), cls=SettingOption, section=section
        )
    return click.option(f"--{flag}", name, metavar=_metavar(spec), help=_help(spec), cls=SettingOption, section=section)


def _metavar(spec: Spec) -> str:
    if spec.metadata["choices"]:
        return "|".join(spec.metadata["choices"])
    if "bytes" in spec.name:
        return "SIZE"
    if config.counts_seconds(spec.name):
        return "SECONDS"
    return "TEXT" if spec.type is str else "N"


def _help(spec: Spec) -> str:
    default = _shown(spec)
    notes = [f"env: {config.variable(spec.name)}", *([f"default: {default}"] if default else [])]
    return f"{spec.metadata['help']} [{'; '.join(notes)}]"


def _shown(spec: Spec) -> str:
    value: Any = spec.default
    if isinstance(value, bool):
        return "yes" if value else "no"
    if "bytes" in spec.name:
        return _size(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _size(size_bytes: int) -> str:
    for unit, scale in (("GiB", 1024 * config.MIB), ("MiB", config.MIB), ("KiB", 1024)):
        if size_bytes and size_bytes % scale == 0:
            return f"{size_bytes // scale}{unit}"
    return str(size_bytes)

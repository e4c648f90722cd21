"""Configurations: frozen dataclasses, filled from a YAML file and the command line.

The values of a file become arguments before the user's own, so that files and command lines are checked, converted
and explained by the same parser, and the command line has precedence.
"""

import difflib
import io
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import fields, is_dataclass
from enum import Enum
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args, get_type_hints

import yaml

from uel.core.io import replace_file
from uel.core.outside.yaml_text import read_yaml
from uel.deprecated_names import current_arguments, current_code, current_field
from uel.errors import UelError

T = TypeVar("T")


def load(schema: type[T], verb: str, args: Sequence[str]) -> T:
    """Fill the dataclass `schema` from a config file and then from `args`.

    The file is `--config name`: `demo/quick`, or `quick` for short, in the package `configs`, or the path of a
    .yaml file; without it `configs/<verb>/default.yaml`, where that exists. Raises `UelError` for a missing file,
    unknown names, values of a wrong type, and values that the dataclass refuses. `--help` prints the fields with
    their docstrings and exits.
    """
    name, typed = _split_config(current_arguments(verb, args), verb)
    file = _find(name, verb)
    from_file = [] if file is None else _arguments(schema, _current(_read(file), verb), str(file))
    # Positional arguments come first: after an option with several values they would be taken for more of them.
    positional = list(itertools.takewhile(lambda arg: not arg.startswith("-"), typed))
    try:
        return _parse(schema, verb, [*positional, *from_file, *typed[len(positional) :]])
    except UelError as error:
        # The message names an argument; name the file, too, where the fault is in it.
        if file is None or _error(schema, verb, from_file) != str(error):
            raise
        raise UelError(f"in {file}: {error}") from error


def save(config: Any, path: Path) -> None:
    """Write every value of a configuration as YAML that `load` reads again."""
    replace_file(path, as_yaml(config).encode())


def as_yaml(config: Any) -> str:
    """Every value of a configuration as YAML that `load` reads again."""
    return yaml.safe_dump(_plain(_options(config)), sort_keys=False, allow_unicode=True)


def _options(config: Any) -> dict[str, Any]:
    """Values of a configuration by name, without fields that are no options (`tyro.conf.Suppress`)."""
    import tyro

    suppressed = _marked(type(config), tyro.conf.Suppress[int])
    values = {field.name: getattr(config, field.name) for field in fields(config) if field.name not in suppressed}
    return {name: _options(value) if is_dataclass(value) else value for name, value in values.items()}


def config_names(verb: str) -> list[str]:
    """Names of the config files of a verb, as `--config` takes them."""
    folder = resources.files("configs") / verb
    files = folder.iterdir() if folder.is_dir() else ()
    return sorted(f"{verb}/{file.name[:-5]}" for file in files if file.name.endswith(".yaml"))


def _split_config(args: Sequence[str], verb: str) -> tuple[str | None, list[str]]:
    """(value of the last `--config`, the other arguments)."""
    name, others, rest = None, [], iter(args)
    for arg in rest:
        if arg == "--config":
            name = next(rest, "")
        elif arg.startswith("--config="):
            name = arg.removeprefix("--config=")
        else:
            others.append(arg)
    if name == "":
        raise UelError("--config needs a name or a .yaml file", do=_known(verb))
    return name, others


def _find(name: str | None, verb: str) -> Traversable | None:
    if name is not None and name.endswith((".yaml", ".yml")):
        file: Traversable = Path(name)
        if not file.is_file():
            raise UelError("no such config file", got=name, do=f"check the path, or name {_known(verb)}")
        return file
    full = name or "default"
    full = full if "/" in full else f"{verb}/{full}"
    file = resources.files("configs").joinpath(f"{full}.yaml")
    if file.is_file():
        return file
    if name is None:
        return None
    raise UelError("no such config", got=name, do=f"{_suggestion(full, config_names(verb))}{_known(verb)}")


def _known(verb: str) -> str:
    return f"one of: {', '.join(config_names(verb)) or 'none yet'}"


def _suggestion(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"Perhaps you meant {close[0]!r}. " if close else ""


class _AsWritten(yaml.SafeLoader):
    """YAML loader that keeps scalars as text for the command line's parser; only null and Booleans are converted.

    YAML 1.1 by itself reads 1e-4 as text, 12:30 as a number and `no` as false.
    """

    yaml_implicit_resolvers: ClassVar = {}


_AsWritten.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(~|null|)$"), ["~", "n", ""])
_AsWritten.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|false)$"), list("tf"))


def _read(file: Traversable) -> Mapping[str, Any]:
    with resources.as_file(file) as path:
        values = read_yaml(path, _AsWritten)
    values = {} if values is None else values
    if not isinstance(values, Mapping):
        raise UelError(f"{file} must hold names and values", got=type(values).__name__, do="write lines like `seed: 1`")
    return values


def _current(values: Mapping[str, Any], verb: str) -> dict[str, Any]:
    """Names and values of a file, old names replaced by current ones."""
    current: dict[str, Any] = {}
    for name, value in values.items():
        field = current_field(verb, str(name))
        if isinstance(value, Mapping):
            current[field] = _current(value, verb)
        elif isinstance(value, list):
            current[field] = [current_code(field, item) for item in value]
        else:
            current[field] = current_code(field, value)
    return current


def _arguments(schema: type, values: Mapping[str, Any], source: str, prefix: str = "") -> list[str]:
    """Command-line arguments for the values of a file."""
    types = get_type_hints(schema)
    names, positional = [field.name for field in fields(schema)], _positional(schema)
    arguments: list[str] = []
    for name, value in values.items():
        if name not in names:
            do = _suggestion(str(name), names) or f"known are {', '.join(names)}"
            raise UelError(f"unknown name in {source}", got=f"{prefix}{name}", do=do)
        if is_dataclass(types[name]) and isinstance(value, Mapping):
            arguments += _arguments(types[name], value, source, f"{prefix}{name}.")
        elif is_dataclass(types[name]):
            raise UelError(f"{prefix}{name} in {source} must hold names and values", got=value)
        elif name in positional:
            arguments = [*_words(value), *arguments]  # first: after a list they would be parsed as its items
        else:
            if types[name] is bool and not isinstance(value, bool):
                raise UelError(f"{prefix}{name} in {source} is a Boolean", got=value, do="write true or false")
            arguments += _argument(f"{prefix}{name}".replace("_", "-"), value)
    return arguments


def _positional(schema: type) -> set[str]:
    """Names of the positional fields."""
    import tyro

    return _marked(schema, tyro.conf.Positional[int])


def _marked(schema: type, example: Any) -> set[str]:
    """Names of the fields with the marker of an annotated type."""
    (marker,) = get_args(example)[1:]
    hints = get_type_hints(schema, include_extras=True)
    return {name for name, hint in hints.items() if marker in get_args(hint)[1:]}


def _argument(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        group, dot, last = name.rpartition(".")
        return [f"--{name}" if value else f"--{group}{dot}no-{last}"]
    if isinstance(value, (list, Mapping)):
        return [f"--{name}", *_words(value)]
    return [f"--{name}={value}"]  # with "=", a value may start with "-"


def _words(value: Any) -> Iterator[str]:
    """Items of nested lists and mappings, as flat text."""
    if isinstance(value, Mapping):
        value = [item for pair in value.items() for item in pair]
    if not isinstance(value, list):
        yield str(value)
        return
    for item in value:
        yield from _words(item)


def _parse(schema: type[T], verb: str, arguments: list[str]) -> T:
    import tyro

    errors = io.StringIO()
    try:
        with redirect_stderr(errors):
            return tyro.cli(schema, prog=f"uel {verb}", args=arguments)
    except SystemExit as stop:
        if not stop.code:  # --help
            raise
        raise UelError(_unboxed(errors.getvalue())) from None


def _error(schema: type, verb: str, arguments: list[str]) -> str:
    """The message that arguments are refused with; empty where they are not."""
    try:
        _parse(schema, verb, arguments)
    except UelError as error:
        return str(error)
    return ""


def _unboxed(text: str) -> str:
    """Text of tyro's message without the frame around it."""
    lines = [line.strip("│ ").rstrip() for line in text.splitlines() if line.startswith("│")]
    return "\n".join(line for line in lines if line.strip("─")) or text.strip()


def _plain(value: Any) -> Any:
    """Plain values for YAML that `_AsWritten` and tyro read back."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # YAML writes .inf, which Python's float() does not read
    return str(value) if isinstance(value, Path) else value

"""YAML from outside: bounded in size, nesting and aliases, each name once."""

from pathlib import Path
from typing import Any

import yaml

from uel.core.outside.json_text import MAX_NESTING
from uel.core.outside.whole_files import read_text
from uel.errors import UelError

MAX_YAML_BYTES = 1 << 18  # of one file: PyYAML reads some 100 kB a second
MAX_YAML_VALUES = 100_000  # with every alias written out


def read_yaml(file: Path, loader: Any = yaml.SafeLoader) -> Any:
    """The value of a YAML file. Raises `UelError` as `parse_yaml`, and for one that cannot be read or is too large."""
    return parse_yaml(read_text(file, max_bytes=MAX_YAML_BYTES), str(file), loader)


def parse_yaml(text: str, name: str, loader: Any = yaml.SafeLoader) -> Any:
    """The value of a YAML text; `name` is that of the text in messages.

    Raises:
        UelError: for a text that is no YAML, is nested too deeply, gives a name twice, or whose aliases stand for more
            than 100 000 values.

    Example:
        >>> from uel.core.outside.yaml_text import parse_yaml
        >>> parse_yaml("seed: 1", "config.yaml")
        {'seed': 1}
    """
    try:
        _require_flat(text, name, loader)
        reader = loader(text)
        try:
            node = reader.get_single_node()
            if node is None:
                return None
            _count_values(node, name, {})
            return reader.construct_document(node)
        finally:
            reader.dispose()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, UelError):
            raise
        raise UelError(f"{name} is not valid YAML", got=error, do="correct the file") from error


def _require_flat(text: str, name: str, loader: Any) -> None:
    nesting = 0
    for event in yaml.parse(text, Loader=loader):
        nesting += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if nesting > MAX_NESTING:
            raise UelError(f"{name} is nested too deeply", got=f"line {event.start_mark.line + 1}", do="flatten it")


def _count_values(node: yaml.Node, name: str, counts: dict[int, int]) -> int:
    """Values below a node with every alias written out. Raises `UelError` for too many, and for a name twice."""
    if id(node) in counts:
        return counts[id(node)]
    counts[id(node)] = MAX_YAML_VALUES + 1  # of a node that holds itself
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(names)) < len(names):
            twice = next(key for number, key in enumerate(names) if key in names[:number])
            raise UelError(f"a name is given twice in {name}", got=f"{twice!r}", do="give it once")
        children = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    total = 1 + sum(_count_values(child, name, counts) for child in children)
    if total > MAX_YAML_VALUES:
        got = f"more than {MAX_YAML_VALUES} values with its aliases written out"
        raise UelError(f"{name} is too large", got=got, do="write the file without aliases (&, *)")
    counts[id(node)] = total
    return total

"""Values only: `configs/<verb>/<name>.yaml`, used by `uel <verb> --config <verb>/<name>`.

A file holds only the values that differ from the defaults of the verb's configuration; `uel <verb> --help` lists them.

Example:
    >>> import configs
    >>> "demo/quick" in configs.names("demo")
    True
    >>> configs.read("demo/quick").splitlines()[0][:1]
    '#'
"""

from importlib import resources

__all__ = ["names", "read"]


def names(verb: str) -> list[str]:
    """Names of a verb's config files as `--config` takes them; empty for a verb that has none.

    Example:
        >>> import configs
        >>> configs.names("nothing")
        []
    """
    folder = resources.files("configs") / verb
    files = folder.iterdir() if folder.is_dir() else ()
    return sorted(f"{verb}/{file.name.removesuffix('.yaml')}" for file in files if file.name.endswith(".yaml"))


def read(name: str) -> str:
    """The text of a config file by its name, `demo/quick` for example. Raises `FileNotFoundError` for another name.

    Example:
        >>> import configs
        >>> "tiers" in configs.read("eval/quick")
        True
    """
    return (resources.files("configs") / f"{name}.yaml").read_text(encoding="utf-8")

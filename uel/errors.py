"""The one exception for a user's mistakes."""

import shlex


def quoted(path: object) -> str:
    """A path as a shell takes it: for commands in messages."""
    return shlex.quote(str(path))


class UelError(ValueError):
    """What was wrong, what was got, and what to do next; the command line prints it without a traceback.

    Args:
        what: the fault, in words of the user's field.
        got: the value that caused it.
        do: the remedy.

    Example:
        >>> import uel
        >>> print(uel.UelError("no such tile", got="data/tiles/paris", do="build it: uel build paris.osm.gz"))
        no such tile
          got: data/tiles/paris
          do:  build it: uel build paris.osm.gz
    """

    def __init__(self, what: str, got: object = None, do: str = "") -> None:
        lines = [what, *([f"  got: {got}"] if got is not None else []), *([f"  do:  {do}"] if do else [])]
        super().__init__("\n".join(lines))
        self.brief = what if got is None else f"{what}: {got}"
        """the fault and what was got, without the remedy: for messages that have their own"""


def brief(error: Exception) -> str:
    """What an exception says in one line, for the message of another one."""
    return " ".join((error.brief if isinstance(error, UelError) else str(error) or repr(error)).split())

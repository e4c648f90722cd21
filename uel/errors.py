"""The one exception for a user's mistakes."""


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

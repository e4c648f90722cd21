"""The one exception for a user's mistakes."""


class UelError(ValueError):
    """What was wrong, what was got, and what to do next; the command line prints it without a traceback."""

    def __init__(self, what: str, got: object = None, do: str = "") -> None:
        lines = [what, *([f"  got: {got}"] if got is not None else []), *([f"  do:  {do}"] if do else [])]
        super().__init__("\n".join(lines))

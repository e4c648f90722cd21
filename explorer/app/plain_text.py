"""Text from files in Streamlit's elements, which take their text for Markdown."""

import re


def plain(text: object) -> str:
    r"""A text as one line of Markdown that shows it letter by letter: no format, link, picture, colour or formula.

    Example:
        >>> from explorer.app.plain_text import plain
        >>> print(plain("![](https://example.org/a.png)"))
        \!\[\](https\://example.org/a.png)
    """
    return re.sub(r"([\\`*_{}\[\]<>#!|~$:^&@])", r"\\\1", " ".join(str(text).split()))


def code_block(text: str) -> str:
    """A text as a block of code, whatever backticks are in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"

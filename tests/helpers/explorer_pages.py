"""Pages of the explorer without a browser: how they are opened, and what they say."""

import re
from typing import Any

PAGE_SECONDS = 300  # cold pages on a busy machine


def page_script(name: str) -> str:
    """One page within what `explorer/app/main.py` puts around it: AppTest does not follow `st.navigation`."""
    return (
        "from explorer.app import widgets\n"
        f"from explorer.app.views import {name}\n"
        f"with widgets.show_errors():\n    {name}.page()\n"
    )


def said(test: Any) -> str:
    """All words of a page."""
    parts = [
        *test.markdown, *test.caption, *test.subheader, *test.info, *test.warning, *test.error, *test.get("html"),
    ]  # fmt: skip
    return "\n".join(
        re.sub(r"<[^>]*>", " ", str(getattr(part, "value", "") or getattr(part.proto, "body", ""))) for part in parts
    )

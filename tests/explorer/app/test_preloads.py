"""What draws a page's maps and charts is loaded while the page runs, and by no page that does not need it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from explorer.app.preloads import PAGE_PARTS, PartPreloads, preload_header

streamlit = pytest.importorskip("streamlit")
SCRIPTS = Path(streamlit.__file__).parent / "static" / "static" / "js"


@pytest.mark.parametrize("page", PAGE_PARTS)
def test_the_parts_of_a_page_are_streamlits(page: str) -> None:
    header = preload_header(SCRIPTS, page)
    assert header is not None
    links = header.decode().split(", ")
    assert len(links) == len(PAGE_PARTS[page])  # one file each
    assert all((SCRIPTS / link.split(">")[0].rpartition("/")[2]).is_file() for link in links)


@pytest.mark.parametrize(("path", "has_link"), [("/radio/look/map", True), ("/map", True), ("/_stcore/health", False)])
def test_documents_of_pages_alone_have_the_header(path: str, has_link: bool) -> None:
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(PartPreloads(app, SCRIPTS)({"type": "http", "path": path}, None, send))
    names = [name for name, _ in sent[0]["headers"]]
    assert (b"link" in names) == has_link
    assert b"content-type" in names

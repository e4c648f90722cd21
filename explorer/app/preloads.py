"""Parts of Streamlit's browser code that a page needs are loaded beside its first ones, not after the page has run."""

from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

# Parts that draw maps and charts, by the last part of a page's path.
PAGE_PARTS = {
    "map": ("DeckGlJsonChart",),
    "live": ("DeckGlJsonChart", "PlotlyChart"),
    "analysis": ("DeckGlJsonChart", "PlotlyChart"),
    "metrics": ("PlotlyChart",),
    "district": ("PlotlyChart",),
}


def preload_header(scripts: Path, page: str) -> bytes | None:
    """The value of a `Link` header (RFC 8288) for a page; None where nothing is to be loaded early.

    `scripts` is Streamlit's folder of scripts, whose names hold hashes.
    """
    names = [file.name for part in PAGE_PARTS.get(page, ()) for file in sorted(scripts.glob(f"{part}.*.js"))]
    return ", ".join(f"<./static/js/{name}>; rel=modulepreload" for name in names).encode() or None


class PartPreloads:
    """ASGI middleware that adds the header to the document of a page."""

    def __init__(self, app: Callable[..., Awaitable[None]], scripts: Path) -> None:
        self._app = app
        self._headers = {page: preload_header(scripts, page) for page in PAGE_PARTS}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        header = None
        if scope["type"] == "http":
            header = self._headers.get(str(scope["path"]).rstrip("/").rpartition("/")[2])

        async def send_with_link(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), (b"link", header)]}
            await send(message)

        await self._app(scope, receive, send if header is None else send_with_link)


def install_preloads() -> None:
    """Give Streamlit's server the middleware; it has no option for it."""
    import streamlit
    from starlette.middleware import Middleware
    from streamlit.web.server.starlette import starlette_app

    scripts = Path(streamlit.__file__).parent / "static" / "static" / "js"
    own = starlette_app.create_streamlit_middleware
    starlette_app.create_streamlit_middleware = lambda: [Middleware(PartPreloads, scripts), *own()]  # type: ignore[arg-type]

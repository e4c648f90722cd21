"""The Content-Security-Policy of the web app: pictures come from this machine alone, whatever a text says."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

CONTENT_POLICY = "img-src 'self' data: blob:; media-src 'self' data: blob:; object-src 'none'; base-uri 'self'"
Message = MutableMapping[str, Any]


class ContentPolicy:
    """ASGI middleware that adds the header to every answer."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Any, send: Callable[[Message], Awaitable[None]]) -> None:
        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                header = (b"content-security-policy", CONTENT_POLICY.encode())
                message = {**message, "headers": [*message.get("headers", []), header]}
            await send(message)

        await self._app(scope, receive, send_with_policy if scope["type"] == "http" else send)


def install_content_policy() -> None:
    """Give Streamlit's server the middleware; it has no option for it."""
    from starlette.middleware import Middleware
    from streamlit.web.server.starlette import starlette_app

    own = starlette_app.create_streamlit_middleware
    starlette_app.create_streamlit_middleware = lambda: [Middleware(ContentPolicy), *own()]  # type: ignore[arg-type]

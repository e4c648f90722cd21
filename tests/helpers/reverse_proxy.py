"""A reverse proxy in a few lines: another name and port, one path, everything below it handed on as it came."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

NAME = "radio.localhost"  # a browser finds this machine under it, and it is not what the server calls itself
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextmanager
def proxy(address: str) -> Iterator[str]:
    """Where the proxy shows what a server has at an address."""
    loop, way = asyncio.new_event_loop(), urlsplit(address)
    assert way.hostname
    assert way.port

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # at the end
            await _handle((reader, writer), way.hostname or "", way.port or 0, way.path)

    # In a thread of its own from the start: Playwright has a loop that runs in this one.
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(what):
        return asyncio.run_coroutine_threadsafe(what, loop).result(60)

    server = run(asyncio.start_server(serve, "127.0.0.1", 0))
    try:
        yield f"http://{NAME}:{server.sockets[0].getsockname()[1]}{way.path}"
    finally:
        server.close()
        run(_end())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end() -> None:
    """End what is still under way."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _handle(visitor: Streams, host: str, port: int, path: str) -> None:
    reader, writer = visitor
    first = await reader.readline()
    if not first.split(b" ")[1:2] or not first.split(b" ")[1].startswith(path.encode()):
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" if first else b"")
        writer.close()
        return
    inner = await asyncio.open_connection(host, port)
    inner[1].write(first)
    await asyncio.gather(_pass_on(reader, inner[1]), _pass_on(inner[0], writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes as they come, until either end goes."""
    try:
        while part := await reader.read(65536):
            writer.write(part)
            await writer.drain()
    except ConnectionError:
        return  # the other end went: browsers do so
    finally:
        writer.close()

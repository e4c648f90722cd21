"""A reverse proxy in a few lines: another name and port, one path, everything below it handed on as it came."""

import asyncio
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
        await _handle((reader, writer), way.hostname or "", way.port or 0, way.path)

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://{NAME}:{port}{way.path}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.gather(*asyncio.all_tasks(loop), return_exceptions=True))
        loop.close()


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

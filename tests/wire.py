"""A way to a server that can be cut as a network is: nothing passes and nobody is told, until it is mended.

It runs in a thread, between real processes and a real server. Unlike a network's, its kernel goes on acknowledging
what it is sent, as a proxy's, a pooler's or a hanging server's does: no time-out of TCP ends a wait for it.
"""

import asyncio
import contextlib
import threading
from typing import Any

BYTES_AT_ONCE = 65_536


class Wire:
    """Listens on ``port`` and passes everything on to a port of this machine and back."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._loop = asyncio.new_event_loop()
        self._whole = asyncio.Event()
        self._whole.set()
        self._passing: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire")
        self._thread.start()
        self._server = self._in_loop(asyncio.start_server(self._accept, "127.0.0.1"))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """From now on nothing passes; connections are accepted, and stay open."""
        self._loop.call_soon_threadsafe(self._whole.clear)

    def mend(self) -> None:
        """Everything passes again, first what came meanwhile."""
        self._loop.call_soon_threadsafe(self._whole.set)

    def close(self) -> None:
        """Close every connection."""
        self._in_loop(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _in_loop(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        try:
            await self._whole.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._passing.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            while data := await reader.read(BYTES_AT_ONCE):
                await self._whole.wait()
                writer.write(data)
                await writer.drain()
            await self._whole.wait()

    async def _end(self) -> None:
        self._server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

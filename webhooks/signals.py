"""Hearing that the process is to end in time to do something about it: the server first waits for open connections."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def told_of_the_end(end: Callable[[], None]) -> Iterator[None]:
    """Call ``end`` on the event loop as soon as the process is asked to end.

    The server waits for open streams before it ends the lifespan, so that would be too late. Read: uvicorn 0.54.0
    server.py, its handlers of signals stand before the lifespan begins. Outside the main thread there are none.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(end)
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is handle:
                signal.signal(number, handler)

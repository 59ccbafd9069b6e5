"""Between SIGTERM and the end: answer "not ready", go on serving for a while, then stop.

A balancer that asks ``/health/ready`` every few seconds then stops sending before the port is closed. SIGINT, a person
at the keyboard, is not kept waiting.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType

import structlog

log = structlog.get_logger()


class Draining:
    """``seconds``: how long to go on serving after the signal."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.has_begun = False

    def listen(self, at_signal: Callable[[], None] | None = None) -> None:
        """Put handlers before the server's own ones of SIGTERM and SIGINT. Call it in the event loop.

        ``at_signal`` runs in the event loop as soon as a signal comes; it ends open streams, for which the server would
        wait. Outside the main thread (in tests) there are no signals.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            stop = signal.getsignal(number)
            if callable(stop):
                signal.signal(number, self._handler(stop, loop, at_signal))

    def _handler(
        self,
        stop: Callable[[int, FrameType | None], object],
        loop: asyncio.AbstractEventLoop,
        at_signal: Callable[[], None] | None,
    ) -> Callable[[int, FrameType | None], None]:
        def handle(number: int, frame: FrameType | None) -> None:
            if at_signal is not None:
                loop.call_soon_threadsafe(at_signal)
            begins, self.has_begun = not self.has_begun, True
            if number != signal.SIGTERM or not self._seconds:
                stop(number, frame)
            elif begins:  # a supervisor may signal a process twice: once by itself and once with its group
                # In the loop and not here, because the handler may have interrupted a log line.
                loop.call_soon_threadsafe(self._begin, stop, loop)

        return handle

    def _begin(
        self, stop: Callable[[int, FrameType | None], object], loop: asyncio.AbstractEventLoop
    ) -> None:
        log.info("web.draining", seconds=self._seconds)
        loop.call_later(self._seconds, stop, signal.SIGTERM, None)

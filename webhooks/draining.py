"""What comes between SIGTERM and the end: say "not ready", go on serving for a while, then stop.

A balancer that asks ``/health/ready`` every few seconds so stops sending before the port is closed. SIGINT, a
person at the keyboard, is not kept waiting.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType

import structlog

log = structlog.get_logger()


class Draining:
    """``seconds``: how long to go on serving. It begins with the signal and never ends but with the process."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.has_begun = False

    def listen(self, at_signal: Callable[[], None] | None = None) -> None:
        """Stand before the server's own handlers of SIGTERM and SIGINT; the server puts back what was before.

        ``at_signal`` runs in the event loop as soon as one comes: the server waits for open streams, so whoever has
        some ends them there. Call it in the event loop. Outside the main thread (in tests) there are no signals.
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
            elif begins:  # a whole group may be signalled twice: once by its supervisor, once as a group
                # not here: a handler may have interrupted the very line that is being written
                loop.call_soon_threadsafe(self._begin, stop, loop)

        return handle

    def _begin(
        self, stop: Callable[[int, FrameType | None], object], loop: asyncio.AbstractEventLoop
    ) -> None:
        log.info("web.draining", seconds=self._seconds)
        loop.call_later(self._seconds, stop, signal.SIGTERM, None)

"""What the processes are made of: parts that are started in one order and stopped in the opposite one."""

from typing import Protocol


class Part(Protocol):
    """Something that runs beside the rest of its process, in threads of its own."""

    def start(self) -> None:
        """Begin; returns immediately."""
        ...

    def stop(self) -> None:
        """Finish what is under way, and wait for the end. May be called when it never started."""
        ...

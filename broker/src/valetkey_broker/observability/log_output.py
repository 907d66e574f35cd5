"""Where the lines of the log go, and what becomes of those that cannot: no call and no work behind one waits for it."""

import contextlib
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

# Characters that wait for a reader who is slow: ten thousand lines and more.
_MOST_WAITING = 4_000_000
# Seconds that a process which ends gives its reader to take what still waits.
_AT_THE_END = 5.0


class Output(Protocol):
    """What is written to."""

    def write(self, text: str, /) -> object:
        """Takes a line."""
        ...

    def flush(self) -> object:
        """Hands on what was written."""
        ...


class Lines:
    """Where lines of the log go. One that cannot be written is lost, and nothing else: no call and no work behind it.

    The disk of the log may be full, and whoever reads the log may be gone. Standard error hears of it once.
    """

    def __init__(self, out: Output) -> None:
        self._out = out
        self._taken = True
        self._lost = False

    def write(self, text: str) -> None:
        """Writes a line. Never raises."""
        self._taken = self._try(self._out.write, text)

    def flush(self) -> None:
        """Hands on what was written. Never raises."""
        handed_on = self._try(self._out.flush)
        self._lost = not (self._taken and handed_on)

    def _try(self, act: Callable[..., object], *arguments: str) -> bool:
        try:
            act(*arguments)
        except (OSError, ValueError) as error:  # ValueError: closed
            if not self._lost:
                self._lost = True
                why = getattr(error, "strerror", None) or type(error).__name__
                with contextlib.suppress(OSError, ValueError):
                    print(f"Error: the log cannot be written: {why}", file=sys.stderr, flush=True)  # noqa: T201
            return False
        return True


class Descriptor:
    """A file by its descriptor. A thread that waits in it holds no lock which Python wants to have at its end."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._rest = b""  # of a line that a disk which is full now has the beginning of

    def write(self, text: str) -> None:
        """Writes a line as a whole, ahead of it what is left of one before. Raises OSError."""
        line = text.encode("utf-8", "backslashreplace")
        left = self._rest + line
        try:
            while left:
                try:
                    left = left[os.write(self._number, left) :]
                except BlockingIOError:  # Who shares it may have it not wait, which would cut lines.
                    select.select([], [self._number], [])
        finally:
            # A line that was begun is ended with the next one, which else would be glued to it; one that was not is
            # lost.
            begun = len(left) < len(line)
            self._rest = left if begun else left[: len(left) - len(line)]

    def flush(self) -> None:
        """Has nothing to do: nothing is kept back."""


class QueuedLines:
    """Has a thread of its own write the lines, in their order: who says one does not wait until it is taken.

    Whoever collects the log may be stuck without being gone: the pipe is full then, and writing to it takes for ever.
    What waits has a bound. Beyond it lines are lost until half of it was taken; `lost` says how many, in their place.
    """

    def __init__(self, lines: Lines, lost: Callable[[int], str], most_waiting: int = _MOST_WAITING) -> None:
        self._lines = lines
        self._say_lost = lost
        self._most = most_waiting
        # Reentrant: what is collected as garbage meanwhile may have something to say, too.
        self._changed = threading.Condition(threading.RLock())
        self._waiting: deque[str | int] = deque()
        self._size = 0
        self._lost = 0
        self._ending = self._ended = False
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Takes a line. Never raises, and never waits."""
        with self._changed:
            if self._ended:
                self._write_one(text)
                return
            if self._lost and self._size <= self._most / 2:
                self._waiting.append(self._lost)
                self._lost = 0
            if self._lost or self._size + len(text) > self._most:
                self._lost += 1
                return
            self._waiting.append(text)
            self._size += len(text)
            self._changed.notify()

    def flush(self) -> None:
        """Has nothing to do: the thread sees to it."""

    def close(self, seconds: float = _AT_THE_END) -> None:
        """Waits until everything is written, for some seconds at most. What is said later is written at once."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(seconds)

    def _write_all(self) -> None:
        while (line := self._next()) is not None:
            if isinstance(line, int):
                self._write_one(self._say_lost(line))
                continue
            self._write_one(line)
            with self._changed:
                self._size -= len(line)

    def _next(self) -> str | int | None:
        """Waits for what to write next: a line, or how many are lost there; None at the end."""
        with self._changed:
            while not self._waiting:
                if self._lost:
                    lost, self._lost = self._lost, 0
                    return lost
                if self._ending:
                    self._ended = True
                    return None
                self._changed.wait()
            return self._waiting.popleft()

    def _write_one(self, text: str) -> None:
        self._lines.write(text)
        self._lines.flush()

"""SIGTERM and SIGINT stop a command, whichever of its threads the system gives them to."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import NoReturn

# Ignored unless somebody asks for it, so that nobody misses a handler that does nothing.
_WAKE = signal.SIGURG
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.01, 1.0


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Makes SIGTERM stop a command as Ctrl-C does: schedulers send it, and expect an exit code.

    Raises:
      KeyboardInterrupt: inside the block, when such a signal came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waker, came = _Waker(), False

    def stop(*_: object) -> NoReturn:
        nonlocal came
        came = True
        # Beam ends what its threads are still using, and would log how each of them fails then.
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
        raise KeyboardInterrupt

    handlers = {signal.SIGINT: stop, signal.SIGTERM: stop, _WAKE: waker.hear}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        with waker.running():
            yield
    except Exception as error:
        # A lock whose release was interrupted is released twice, which is an error of its own.
        if came:
            raise KeyboardInterrupt from error
        raise
    finally:
        for number, handler in before.items():
            # None is a handler that Python did not install and cannot put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


class _Waker:
    """Wakes the main thread after each signal, until it has run the signal's handler.

    Handlers run in the main thread alone, but a thread that starts or ends just then may take the
    signal from the system: the main thread, waiting for a lock, would sleep on. So it would
    where it is woken when it is just about to wait, and is therefore woken again.
    """

    def __init__(self) -> None:
        self._heard = 0
        self._ends = False

    def hear(self, *_: object) -> None:
        """The handler: those of other signals run before it, or at once after it."""
        self._heard += 1

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Wakes the thread that is in this context, the main thread."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        waker = threading.Thread(
            target=self._wake, args=(reader, threading.get_ident()), name="wake at signals",
            daemon=True,
        )  # fmt: skip
        waker.start()
        before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            self._ends = True
            os.close(writer)
            waker.join()
            os.close(reader)

    def _wake(self, reader: int, main_thread: int) -> None:
        # One byte a signal: its number.
        while came := os.read(reader, 1):
            heard, pause_seconds = self._heard, _FIRST_PAUSE_SECONDS
            while came[0] != _WAKE and self._heard == heard and not self._ends:
                signal.pthread_kill(main_thread, _WAKE)
                time.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

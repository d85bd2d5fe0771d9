"""SIGTERM and SIGINT stop a command, whichever of its threads the system gives them to."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from typing import NoReturn

# Ignored unless somebody asks for it, so that nobody misses a handler that does nothing.
_WAKE = signal.SIGURG


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Makes SIGTERM stop a command as Ctrl-C does: schedulers send it, and expect an exit code.

    Raises:
      KeyboardInterrupt: inside the block, when such a signal came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {signal.SIGINT: _stop, signal.SIGTERM: _stop, _WAKE: _do_nothing}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        with _main_thread_woken():
            yield
    finally:
        for number, handler in before.items():
            # None is a handler that Python did not install and cannot put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextlib.contextmanager
def _main_thread_woken() -> Iterator[None]:
    """Wakes the main thread after each signal.

    Handlers run in the main thread alone, but a thread that starts or ends just then may take the
    signal from the system: the main thread, waiting for a lock, would sleep on.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    main_thread = threading.get_ident()

    def wake() -> None:
        # One byte a signal: its number.
        while came := os.read(reader, 1):
            if came[0] != _WAKE:
                signal.pthread_kill(main_thread, _WAKE)

    waker = threading.Thread(target=wake, name="wake at signals", daemon=True)
    waker.start()
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)
        waker.join()
        os.close(reader)


def _stop(*_: object) -> NoReturn:
    # Beam ends what its threads are still using, and would log how each of them fails then.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    raise KeyboardInterrupt


def _do_nothing(*_: object) -> None:
    """Lets the system interrupt what the main thread waits for."""

"""A limit of time, so that what hangs fails."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

__all__ = ["at_most"]


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Fail where something hangs."""

    def stop(*_: object) -> None:
        raise AssertionError(f"hangs for {seconds} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)

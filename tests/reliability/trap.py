"""What code does to the machine, seen by Python's audit events: files written, programs started, connections made."""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["nothing_happens"]

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_DEEDS = (
    *("ctypes.", "ftplib.", "http.client.", "os.exec", "os.fork", "os.kill", "os.link", "os.mkdir", "os.posix_spawn"),
    *("os.putenv", "os.remove", "os.rename", "os.rmdir", "os.spawn", "os.startfile", "os.symlink", "os.system"),
    *("os.chmod", "os.chown", "os.truncate", "os.unsetenv", "os.utime", "pdb.", "pickle.find_class", "pty."),
    *(
        "builtins.breakpoint",
        "builtins.input",
        "shutil.",
        "smtplib.",
        "socket.",
        "subprocess.",
        "urllib.",
        "webbrowser.",
    ),
)
_seen: list[str] | None = None
_watched: int | None = None


@functools.lru_cache(maxsize=1)
def _set() -> None:
    """Set the hook, once: Python has no way to take it off again."""
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _seen is None or threading.get_ident() != _watched:
        return
    if event.startswith(_DEEDS) or (event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES):
        _seen.append(f"{event} {arguments}")


@contextmanager
def nothing_happens() -> Iterator[None]:
    """Fail if what runs inside, in this thread, writes, starts, sends or asks for anything.

    Raises:
        AssertionError: naming what was done.
    """
    global _seen, _watched
    _set()
    seen: list[str] = []
    _seen, _watched = seen, threading.get_ident()
    try:
        yield
    finally:
        _seen = None
        assert not seen, seen

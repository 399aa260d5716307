"""Ctrl-C and SIGTERM end a program with one line, from its first import on."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType, TracebackType
from typing import NoReturn

from pu_unet_monai.errors import INTERRUPTED

__all__ = ["TERMINATED", "Terminated", "end_at_once", "end_in_order", "one_line_interrupts", "starts_program"]

TERMINATED = 143
"""Exit code of a program that SIGTERM ended, by the shells' convention."""
_SAID = {signal.SIGINT: ("interrupted", INTERRUPTED), signal.SIGTERM: ("terminated", TERMINATED)}


class Terminated(SystemExit):
    """SIGTERM arrived; what is open is closed on the way out, so that no temporary file of a patient stays."""


def end_at_once() -> None:
    """Have Ctrl-C and SIGTERM end the program with one line, while it loads and has nothing to clean up.

    An exception would not do: libraries written in C print it, or lose it, where it meets them while they load.
    """
    for number in _SAID:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as in a shell's background job
            signal.signal(number, _leave)


def end_in_order() -> None:
    """Have Ctrl-C and SIGTERM raise ``KeyboardInterrupt`` and :class:`Terminated`, after :func:`end_at_once`."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, _raise)):
        if signal.getsignal(number) is _leave:
            signal.signal(number, handler)


def starts_program() -> bool:
    """Whether Python looks for the program in this moment (``python -m``), as it imports the packages around it."""
    return sys.argv[:1] == ["-m"]


def one_line_interrupts() -> None:
    """Print ``interrupted`` alone where Ctrl-C ends a program that does not take care of it, as while it loads."""
    sys.excepthook = _excepthook


def _leave(number: int, _: FrameType | None) -> NoReturn:
    said, code = _SAID[signal.Signals(number)]
    os.write(2, f"{said}\n".encode())
    os._exit(code)


def _raise(*_: object) -> NoReturn:
    raise Terminated(TERMINATED)


def _excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)

"""Errors that a user can mend, and how they are shown: one line, no traceback."""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from pu_unet_monai.printable import printable

__all__ = [
    "INTERRUPTED",
    "NonFiniteLossError",
    "UserError",
    "find_fault",
    "find_mendable",
    "find_user_error",
    "first_cause",
    "join_some",
    "one_line_errors",
    "print_error",
    "tell_torchrun",
]


INTERRUPTED = 130
"""Exit code of a program that Ctrl-C ended, by the shells' convention."""


class UserError(ValueError):
    """Something in the user's files, options or configuration is wrong.

    The message says which file or key, what was found, what was expected and what to do. Command lines print
    it alone and exit with code 2; ``python -m monai.bundle run`` prints it alone and exits with code 1.
    """


class NonFiniteLossError(UserError):
    """The training loss, or the weights, became NaN or infinite."""


_REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE}
_NO_MEMORY = re.compile("can't allocate memory|out of memory", re.IGNORECASE)
_WORKER_KILLED = re.compile(r"DataLoader worker \(pid[^)]*\) (is killed by signal: \w+|exited unexpectedly)")

# a DataLoader's worker sends its error home as the text of a traceback
_FROM_WORKER = re.compile(r"^pu_unet_monai\.errors\.UserError: (.+)$", re.MULTILINE)


def join_some(items: Sequence[str], most: int = 20) -> str:
    """Join names for a message: all of them, or the first ones and how many more."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


def find_user_error(error: BaseException | None) -> UserError | None:
    """Return the first ``UserError`` in a chain of exceptions, or None.

    MONAI wraps what a transform or a configured component raises, so the cause has to be looked for.

    Args:
        error: the exception that arrived at the top.
    """
    for one in _chain(error):
        if isinstance(one, UserError):
            return one
        if match := _FROM_WORKER.search(str(one)):
            return UserError(match[1])
    return None


def find_fault(error: BaseException | None) -> UserError | None:
    """Return what the machine refused, as an error that a user can mend, or None if that is not what went wrong.

    Args:
        error: the exception that arrived at the top: no room on the disk, no permission, no memory, a process killed.
    """
    for one in _chain(error):
        if isinstance(one, OSError) and one.errno in _REFUSED and one.filename is not None:
            return UserError(f"{one.filename}: {one.strerror}; mend that, or choose another folder.")
        if isinstance(one, OSError) and one.errno == errno.ENOSPC:
            return UserError(f"{one.strerror}; free some, or write to another place.")
        if isinstance(one, RuntimeError) and str(one).startswith("Symlink loop"):
            return UserError(f"{one}; give the folder itself.")
        if isinstance(one, MemoryError) or _NO_MEMORY.search(str(one)):
            reason = next(iter(str(one).splitlines()), "") or type(one).__name__
            return UserError(f"not enough memory ({reason}); use a smaller batch_size, image_size or roi_size.")
        if isinstance(one, RuntimeError) and (match := _WORKER_KILLED.search(str(one))):
            return UserError(f"{match[0]}; if it was short of memory, use fewer num_workers.")
    return None


def find_mendable(error: BaseException | None) -> UserError | None:
    """Return what a user can mend of an error: a mistake, or what the machine refused; None if it is a defect."""
    return find_user_error(error) or find_fault(error)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and what it came from, one after another."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


def first_cause(error: BaseException) -> str:
    """Return what began a chain of exceptions, on one line: MONAI's wrappers say only which transform it was in."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = f"{error.msg} in {error.text!r}" if isinstance(error, SyntaxError) and error.text else str(error)
    lines = filter(None, map(str.strip, text.splitlines()))  # some messages begin with an empty one
    return ": ".join([type(error).__name__, *itertools.islice(lines, 1)])


def print_error(error: UserError) -> None:
    """Print a user's mistake as one line, once for all processes that ``torchrun`` started here."""
    if int(os.environ.get("LOCAL_RANK", 0)) > 0:
        time.sleep(1)  # most mistakes are found by all: the first says it, whereupon torchrun ends the others
    lines = map(printable, str(error).split("\n"))
    print("error: " + "\n".join(lines), file=sys.stderr)
    tell_torchrun(f"error: {error}")


def tell_torchrun(message: str) -> None:
    """Leave the reason of a failure where ``torchrun`` looks for it, to be named below its own traceback.

    It does nothing in a process that ``torchrun`` did not start.
    """
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path:
        content = {"message": {"message": message, "extraInfo": {"timestamp": str(int(time.time()))}}}
        Path(path).write_text(json.dumps(content), encoding="utf-8")


def one_line_errors() -> None:
    """Print a ``UserError``, a fault of the machine or Ctrl-C that ends the program as one line.

    All else keeps its traceback, below which stands what began it.

    Bundle configurations call this in ``initialize``, since ``python -m monai.bundle`` has no such switch.
    """
    if sys.excepthook is not _excepthook:
        sys.excepthook = _excepthook


def _excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    user_error = find_mendable(error)
    if isinstance(error, KeyboardInterrupt):
        print("interrupted; a training goes on from its last whole epoch with --resume True", file=sys.stderr)
    elif user_error is None:
        sys.__excepthook__(kind, error, traceback)
        if error.__cause__ is not None:  # which stands in the middle of a long traceback
            print(f"first cause: {first_cause(error)}", file=sys.stderr)
    else:
        print_error(user_error)

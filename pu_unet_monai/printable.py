"""Text of others, such as names of files, on a screen."""

from __future__ import annotations

import sys

__all__ = ["printable", "say", "say_lines"]


def printable(text: str) -> str:
    """Return a text in one line, in which nothing moves the cursor or hides what stands before or behind it."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def say(text: str) -> None:
    """Print a text as one line, with what the terminal has no letters for as escapes: names of files may be any."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(printable(text).encode(encoding, "backslashreplace").decode(encoding), flush=True)


def say_lines(text: str) -> None:
    """Print a text of several lines, such as a report, each as :func:`say` does."""
    for line in text.splitlines():
        say(line)

"""Text of others, on a screen."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str) -> str:
    """Return a text in one line, in which nothing moves the cursor or hides what stands before or behind it."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)

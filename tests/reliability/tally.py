"""Counting what property-based tests tried, for the page on reliability."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

from tests.conftest import FULL

__all__ = ["Tally", "examples"]


def examples(short: int, full: int) -> settings:
    """Return how many examples are tried, in the short form of the tests and in the full one."""
    number = full if FULL else short
    return settings(max_examples=number, deadline=None, suppress_health_check=list(HealthCheck))


class Tally:
    """How many inputs of each kind were tried, and how many of them gave an error; the fixture ``tally`` has one."""

    def __init__(self) -> None:
        self.tried: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()

    def keep(self, record: Callable[[str, str, Any], None]) -> None:
        """Keep the figures."""
        for kind, tried in self.tried.items():
            errors = self.errors[kind]
            record("bad inputs", kind, {"tried": tried, "errors": errors, "right": tried - errors})

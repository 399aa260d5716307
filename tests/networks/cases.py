"""All networks under test: the ``CASES`` of the test modules of this folder."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from .base_tester import NetworkCase

__all__ = ["all_cases"]


def all_cases() -> list[NetworkCase]:
    """Return the networks of every module ``test_*`` here that lists some as ``CASES``, each once."""
    cases: list[NetworkCase] = []
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name.startswith("test_"):
            listed = getattr(importlib.import_module(f"{__package__}.{module.name}"), "CASES", [])
            cases += [case for case in listed if not any(case is known for known in cases)]
    return cases

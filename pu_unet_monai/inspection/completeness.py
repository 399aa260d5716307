"""What a bundle lacks: properties that MONAI asks for, and what its metadata's schema wants."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle.properties import InferProperties, MetaProperties, TrainProperties

__all__ = ["missing_properties", "schema_errors"]

SCHEMA = Path(__file__).with_name("meta_schema_20240725.json")
"""MONAI's schema of bundle metadata (Project MONAI, Apache 2.0), so that no download is needed."""

_PROPERTIES: dict[str, Mapping[Any, Mapping[Any, Any]]] = {
    "train.json": TrainProperties,
    "inference.json": InferProperties,
    "metadata.json": MetaProperties,
}


def missing_properties(file: str, config: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the required and the optional properties of ``monai.bundle`` that a configuration lacks.

    Args:
        file: its name: ``train.json``, ``inference.json`` or ``metadata.json``; others lack nothing.
        config: its content, not evaluated.
    """
    missing: dict[bool, list[str]] = {True: [], False: []}
    for name, description in _PROPERTIES.get(file, {}).items():
        place = str(description["id"]).removeprefix("_meta_::")
        if not _has(config, re.split("::|#", place)):
            missing[bool(description["required"])].append(f"{name} ({place.replace('::', '#')})")
    return missing[True], missing[False]


def schema_errors(metadata: Mapping[str, Any]) -> list[str]:
    """Return where metadata differ from MONAI's schema, one line each."""
    from jsonschema import validators  # here, as the other commands start faster without

    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    validator = validators.validator_for(schema)(schema)
    errors = sorted(validator.iter_errors(metadata), key=lambda error: [str(part) for part in error.absolute_path])
    return [f"{'#'.join(map(str, error.absolute_path)) or 'top'}: {error.message.splitlines()[0]}" for error in errors]


def _has(config: Any, keys: list[str]) -> bool:
    """Tell whether a nested key is there; what a reference or an expression stands for may have it."""
    for key in keys:
        if isinstance(config, str) and config[:1] in ("@", "%", "$"):
            return True
        if not isinstance(config, Mapping) or key not in config:
            return False
        config = config[key]
    return True

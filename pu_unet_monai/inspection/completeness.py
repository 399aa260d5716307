"""What a bundle lacks: properties that MONAI asks for, what its metadata's schema wants, and use for its keys."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from monai.bundle.properties import InferProperties, MetaProperties, TrainProperties

__all__ = ["idle_keys", "missing_properties", "schema_errors"]

SCHEMA = Path(__file__).with_name("meta_schema_20240725.json")
"""MONAI's schema of bundle metadata (Project MONAI, Apache 2.0), so that no download is needed."""

_RUNS = re.compile(r'"(\$|%|_target_|imports")')
"""Is in what MONAI runs or builds, whoever asks for it."""

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


def idle_keys(config: Mapping[str, Any], configs: Iterable[Any]) -> list[str]:
    """Return the keys that set a value which nothing asks for, such as misspelled ones.

    Args:
        config: content of a configuration, not evaluated.
        configs: that of all of the bundle, which may refer to its keys.
    """
    texts = json.dumps([*configs], default=str)
    return [
        key
        for key, value in config.items()
        if not _RUNS.search(json.dumps({key: value}, default=str)) and not re.search(rf"[@%]{re.escape(key)}\b", texts)
    ]


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

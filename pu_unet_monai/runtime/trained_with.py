"""What weights were trained with: ``model.json`` beside ``model.pt``, for whoever runs them."""

from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pu_unet_monai.errors import UserError
from pu_unet_monai.files import file_sha256, read_json, write_json

__all__ = ["facts_concern", "read_facts", "trained_with", "write_facts"]

_HASH = "weights_sha256"
_WORDS = re.compile(r"[\w .,:;=()\[\]+*/-]*")

_log = logging.getLogger(__name__)


def write_facts(weights: Path, facts: Mapping[str, Any]) -> None:
    """Write ``<weights>.json``, such as ``model.json`` of ``model.pt``, with the hash of the weights it speaks of.

    Args:
        weights: the file of weights.
        facts: keys of the configuration, such as ``image_size``, and their values.
    """
    write_json(weights.with_suffix(".json"), {**facts, _HASH: file_sha256(weights)})


def read_facts(weights: Path) -> dict[str, Any]:
    """Return what :func:`write_facts` wrote of these very weights; nothing where it did not.

    Raises:
        UserError: if the file is damaged, or holds what a configuration would run.
    """
    path = weights.with_suffix(".json")
    if not path.is_file() or not weights.is_file():
        return {}
    return dict(_read(path, path.stat().st_mtime_ns, weights, weights.stat().st_mtime_ns))


def trained_with(ckpt_dir: str | os.PathLike[str], key: str, default: Any) -> Any:
    """Return a key of the configuration as the training of ``model.pt`` had it.

    Bundle configurations call this, so that inference fits the weights: ``"image_size": "$trained_with(@ckpt_dir,
    'image_size', 352)"``.

    Args:
        ckpt_dir: folder of the weights.
        key: the key.
        default: what it is where the weights have no record, or the record no such key.
    """
    return read_facts(Path(ckpt_dir) / "model.pt").get(key, default)


def facts_concern(weights: Path) -> str | None:
    """Say what is wrong with the facts beside weights, for whoever looks at both without using them."""
    try:
        facts = read_json(weights.with_suffix(".json"))
    except UserError:
        return "cannot be read"
    if odd := _odd(facts):
        return f"holds what could be run: {', '.join(f'{key}: {facts[key]!r}' for key in odd)}"
    return None if facts.get(_HASH) == file_sha256(weights) else f"is not of the {weights.name} beside it"


@functools.lru_cache(maxsize=8)
def _read(path: Path, _: int, weights: Path, __: int) -> dict[str, Any]:
    """Read the facts, once as long as neither file changes."""
    facts = read_json(path, "bring the one that the training wrote, or remove it and give its keys with --set")
    if facts.pop(_HASH, None) != file_sha256(weights):
        _log.warning(
            "%s: is not of the weights beside it, or these are damaged; it is left aside: give its keys with --set",
            path,
        )
        return {}
    if odd := _odd(facts):
        raise UserError(
            f"{path}: {', '.join(odd)}: expected numbers, plain words and lists of them, as all else could be run; do "
            "not use these weights, or remove the file and give its keys with --set."
        )
    return facts


def _odd(facts: Mapping[str, Any]) -> list[str]:
    return [key for key, value in facts.items() if not _is_plain(value)]


def _is_plain(value: Any) -> bool:
    """Tell whether a value stays what it is in a configuration: no object, nothing that a text is read as one."""
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return _WORDS.fullmatch(value) is not None if isinstance(value, str) else not isinstance(value, Mapping)

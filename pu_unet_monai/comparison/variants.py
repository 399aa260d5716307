"""What is compared: every combination of the values that ``--vary`` names."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pu_unet_monai.config_keys import parse_value
from pu_unet_monai.errors import UserError, join_some
from pu_unet_monai.runtime.network_overrides import network_overrides, split_outside_brackets

__all__ = ["Variant", "make_variants"]

NETWORK = "network"
"""The key whose values are names of networks, as ``create_network`` takes them."""
PRESET = "preset"
"""The key whose values are names of files in the bundle's ``configs/presets``, or ``none``."""

_LONGEST = 100
"""Characters of a folder's name, of which systems take 255 and whole paths on some no more than 260."""


@dataclass(frozen=True)
class Variant:
    """One combination of values.

    Args:
        name: what the table calls it, such as ``"r2_unet:attention=true"`` or ``"placement=none"``.
        overrides: keys to set in the bundle's configuration.
        preset: name of a preset of the bundle that is laid over ``train.json`` before. Defaults to None.
    """

    name: str
    overrides: Mapping[str, Any]
    preset: str | None = None

    @property
    def folder(self) -> str:
        """The name as that of a folder."""
        name = re.sub(r"[\[\](){}\"' ]", "", self.name.replace(":", ","))
        name = re.sub(r"[^\w.=,+-]+", "_", name)
        if len(name) <= _LONGEST:
            return name
        return f"{name[:_LONGEST]}_{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"


def make_variants(vary: Sequence[str], config: Mapping[str, Any]) -> list[Variant]:
    """Return all combinations, the last option changing fastest.

    Args:
        vary: ``KEY=a,b,c`` each. A comma inside brackets or quotes separates nothing. The values of ``network`` are
            names of networks, with options behind colons: ``network=unet,r2_unet:attention=true:t=3``; those of
            ``preset`` names of the bundle's presets, and ``none``.
        config: the bundle's ``train.json``, whose ``network_def`` says what a network is made with.

    Raises:
        UserError: naming all options that are not of this form, networks that do not exist, and keys and combinations
            that occur twice. Whether keys, presets and options of networks exist is not checked.
    """
    problems: list[str] = []
    axes: list[list[Variant]] = []
    for text in vary:
        key, _, listed = text.partition("=")
        values = split_outside_brackets(listed, ",")
        if not key or not all(values):
            problems.append(f"--vary {text}: expected KEY=a,b,c, such as placement=none,low_resolution")
            continue
        axis = []
        for value in values:
            try:
                axis.append(_variant(key, value, config))
            except UserError as error:
                problems.append(str(error).rstrip("."))
        axes.append(axis)
    keys = Counter(text.partition("=")[0] for text in vary)
    problems += [
        f"--vary {key}: given {count} times; name its values in one" for key, count in keys.items() if count > 1
    ]
    if problems:
        raise UserError("; ".join(problems) + ".")
    variants = [_join(combination) for combination in itertools.product(*axes)]
    folders = Counter(variant.folder.lower() for variant in variants)  # as some systems compare names
    if same := sorted(variant.name for variant in variants if folders[variant.folder.lower()] > 1):
        raise UserError(f"--vary: {join_some(same)}: the same twice, or names too much alike; leave one out.")
    for one, other in itertools.combinations(variants, 2):
        if (one.overrides, one.preset) == (other.overrides, other.preset):
            raise UserError(f"--vary: {one.name} and {other.name} are the same; leave one out.")
    return variants


def _variant(key: str, value: str, config: Mapping[str, Any]) -> Variant:
    if key == NETWORK:
        return Variant(value, network_overrides(value, config))
    if key == PRESET:
        return Variant(f"{key}={value}", {}, preset=None if value == "none" else value)
    return Variant(f"{key}={value}", {key: parse_value(value)})


def _join(combination: Sequence[Variant]) -> Variant:
    overrides = {key: value for variant in combination for key, value in variant.overrides.items()}
    presets = [variant.preset for variant in combination if variant.preset]
    return Variant(", ".join(variant.name for variant in combination), overrides, next(iter(presets), None))

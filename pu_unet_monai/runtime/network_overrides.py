"""Another network in a bundle's configuration, by its name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pu_unet_monai.config_keys import parse_value
from pu_unet_monai.errors import UserError
from pu_unet_monai.networks.registry import find_network, network_options

__all__ = ["network_overrides", "recorded_network", "split_outside_brackets"]

_SIZES = ("image_size", "img_size")
"""Options of networks that have to know the size of their input."""
_BRACKETS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}


def network_overrides(text: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that make a bundle take another network, with those of the bundle's options that it has.

    Args:
        text: name of a network, with options behind colons, such as ``"r2_unet:attention=true:t=3"``.
        config: the bundle's ``train.json`` or ``inference.json``, whose ``network_def`` is replaced.

    Returns:
        ``network_def``, and, for a training, ``trained_with``, which lets ``model.json`` say so.

    Raises:
        UserError: if there is no such network, or it has no such option.
    """
    name, *settings = split_outside_brackets(text, ":")
    options = {}
    for setting in settings:
        option, equals, value = setting.partition("=")
        if not equals:
            raise UserError(f"{text}: expected name:option=value, such as r2_unet:attention=true.")
        if option in options:
            raise UserError(f"{text}: {option} is given twice; leave one out.")
        options[option] = parse_value(value)
    known = network_options(name)
    if unknown := [option for option in options if option not in known]:
        raise UserError(
            f"{text}: network {name} has no option {', '.join(unknown)}; its options are {', '.join(known)}."
        )
    shared = {key: value for key, value in config["network_def"].items() if key in known}
    shared |= {key: _size(config) for key in _SIZES if key in known}
    definition = {"_target_": "pu_unet_monai.networks.create_network", "name": name, "pad_to_multiple": True}
    sizes = {key: config["network_def"][key] for key in ("spatial_dims", "in_channels", "out_channels")}
    definition |= sizes | shared | options
    overrides = {"network_def": definition}
    if "trained_with" in config:
        overrides["trained_with"] = _trained_with(text, definition, config)
    return overrides


def recorded_network(text: Any, weights: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what :func:`network_overrides` does, of the name that is recorded beside weights.

    Args:
        text: what ``model.json`` says.
        weights: the ``model.pt`` beside it.
        config: the bundle's ``train.json`` or ``inference.json``.

    Raises:
        UserError: as there, naming the file.
    """
    try:
        return network_overrides(str(text), config)
    except UserError as error:
        raise UserError(f"{weights.with_suffix('.json')}: network {error}") from error


def _trained_with(text: str, definition: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the weights are to say of themselves: the bundle's keys, and the network if these do not make it."""
    facts = {key: definition.get(key, value) for key, value in config["trained_with"].items()}
    own = config["network_def"]
    same_class = own["_target_"].rpartition(".")[2] == getattr(find_network(definition["name"]), "__name__", "")
    others = definition.keys() - facts.keys() - {"_target_", "name", "pad_to_multiple"}
    if same_class and all(definition[key] == own.get(key) for key in others):
        return facts
    return {"network": text, **facts}


def _size(config: Mapping[str, Any]) -> str:
    """Return a reference to the bundle's key for the size of the network's input."""
    return "@image_size" if "image_size" in config else "@roi_size"


def split_outside_brackets(text: str, separator: str) -> list[str]:
    """Split at separators outside of brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        depth += 0 if quote else _BRACKETS.get(character, 0)
        if character == separator and not quote and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]

"""Overrides of a bundle's configuration must name keys that exist: a misspelled one would change nothing, silently."""

from __future__ import annotations

import ast
import contextlib
import difflib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from monai.bundle.utils import DEFAULT_EXP_MGMT_SETTINGS

from pu_unet_monai.errors import UserError

__all__ = ["check_command_line", "check_keys", "parse_settings", "parse_value"]

_OPTIONS_OF_RUN = {"run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file"}


def check_keys(keys: Iterable[str], known: Iterable[str], where: str) -> None:
    """Check that overrides name keys of a configuration.

    Args:
        keys: the overrides, such as ``placement`` or ``train#trainer#amp``; the first part counts.
        known: the top-level keys of the configuration.
        where: the configuration, for the message.

    Raises:
        UserError: naming all that do not, with the nearest that exists.
    """
    known = [key for key in known if not key.startswith("_")]
    problems = []
    for key in keys:
        name = key.lstrip("+~").split("#")[0]
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            problems.append(f"{key} (did you mean {nearest[0]}?)" if nearest else key)
    if problems:
        raise UserError(f"{where}: has no key {', '.join(problems)}; it has {', '.join(known)}.")


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Read ``--set KEY=VALUE``, each value by :func:`parse_value`.

    Raises:
        UserError: naming a setting without ``=``.
    """
    overrides: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UserError(f"--set {setting}: expected KEY=VALUE, such as use_checkpoint=true.")
        overrides[key] = parse_value(value)
    return overrides


def parse_value(value: str) -> Any:
    """Read a value of the command line: as JSON or Python where it is that, else as text."""
    for read in (json.loads, ast.literal_eval):
        with contextlib.suppress(ValueError, SyntaxError):
            return read(value)
    return value


def check_command_line() -> None:
    """Check the overrides of ``python -m monai.bundle run``; do nothing in other programs.

    Bundle configurations call this in ``initialize``.

    Raises:
        UserError: as :func:`check_keys`; and for ``true`` and ``false``, which the command line takes for text, and any
            text counts as true.
    """
    if Path(sys.argv[0]).parts[-3:] != ("monai", "bundle", "__main__.py"):
        return
    options = _options(sys.argv[1:])
    files = options.get("config_file")
    if files is None:
        return
    paths = ast.literal_eval(files) if files.startswith(("[", "(")) else files.split(",")
    config = {key.lstrip("+~").split("#")[0]: value for key, value in ConfigParser.load_config_files(paths).items()}
    known = [*config, *_keys_of_tracking(options.get("tracking", ""))]
    texts = [f"--{key} {value}" for key, value in options.items() if value in ("true", "false")]
    if texts:
        raise UserError(f"{', '.join(texts)}: text on MONAI's command line; write True or False, as in Python.")
    check_keys([key for key in options if key not in _OPTIONS_OF_RUN], dict.fromkeys(known), files)


def _keys_of_tracking(tracking: str) -> list[str]:
    """Return the keys that MONAI adds to a configuration for ``--tracking``, such as ``run_name``."""
    if Path(tracking).is_file():
        settings = ConfigParser.load_config_file(tracking)
    else:
        settings = DEFAULT_EXP_MGMT_SETTINGS.get(tracking.lower(), {})
    return list(settings.get("configs", {}))


def _options(arguments: list[str]) -> dict[str, str]:
    """Read ``--key value`` and ``--key=value`` as Fire does."""
    options = {}
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument.startswith("--"):
            key, _, value = argument[2:].partition("=")
            options[key.replace("-", "_")] = value or following
    return options

"""Look at a bundle without running anything in it: what it would run, its files, and what it lacks."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pu_unet_monai.errors import UserError
from pu_unet_monai.inspection.bundle_files import list_files
from pu_unet_monai.inspection.completeness import idle_keys, missing_properties, schema_errors
from pu_unet_monai.inspection.config_code import find_code, read_configs
from pu_unet_monai.printable import printable

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("bundle", type=Path, help="folder of the bundle")


def run(args: argparse.Namespace) -> int:
    """Print a line for every expression, target, file, missing property and schema error.

    Args:
        args: the parsed options.

    Returns:
        The exit code: 0, or 1 if something is there that no segmentation needs, or that keeps it from running.

    Raises:
        UserError: if the folder is no bundle.
    """
    if not args.bundle.is_dir():
        raise UserError(f"{args.bundle}: no such folder; check the path.")
    if not (args.bundle / "configs").is_dir():
        raise UserError(f"{args.bundle}: not a bundle, there is no folder configs.")
    configs, problems = read_configs(args.bundle)
    problems += _code(configs, args.bundle) + _files(args.bundle) + _lacks(configs, args.bundle)
    print(f"\n{len(problems)} problem(s)" + (":" if problems else ""))
    for problem in problems:
        print(f"  {printable(problem)}")
    return 1 if problems else 0


def _code(configs: Mapping[Path, Mapping[str, Any]], bundle: Path) -> list[str]:
    """Print what the configurations would run, and return what is not known of it."""
    print(f"What MONAI would run of {bundle}/configs:")
    found = find_code(configs)
    for code in found:
        print(f"  {code}")
    return [f"code: {code}" for code in found if code.concern]


def _files(bundle: Path) -> list[str]:
    """Print the files, and return those that could run, or lie elsewhere."""
    print(f"\nFiles of {bundle}:")
    found = list_files(bundle)
    for file in found:
        print(f"  {file}")
    if "models/model.pt" not in [file.name for file in found]:
        print("no weights (models/model.pt): to be trained first")
    return [f"file: {file.name} {file.concern}" for file in found if file.concern]


def _lacks(configs: Mapping[Path, Mapping[str, Any]], bundle: Path) -> list[str]:
    """Print what optional properties are missing, and return required ones and errors of the schema."""
    problems = []
    for name in ("train.json", "inference.json", "metadata.json"):
        path = bundle / "configs" / name
        if not path.is_file() and name != "train.json":
            problems.append(f"missing: configs/{name}")
        if path not in configs:  # what cannot be read was said before
            continue
        required, optional = missing_properties(name, configs[path])
        problems += [f"missing: property {text} in {name}" for text in required]
        if name != "metadata.json" and (idle := idle_keys(configs[path], configs.values())):
            print(f"\n{name}: nothing refers to {', '.join(idle)}; misspelled?")
        if optional:
            print(f"\n{name} does without the optional {', '.join(optional)}")
        if name == "metadata.json":
            problems += [f"schema: {name} {error}" for error in schema_errors(configs[path])]
    return problems

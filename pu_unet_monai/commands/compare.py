"""Train a bundle's variants under the same seeds, split and budget, and table what each costs and reaches."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pu_unet_monai.commands.options import add_trust
from pu_unet_monai.comparison.cell import Cell
from pu_unet_monai.comparison.cost import load_or_measure_costs
from pu_unet_monai.comparison.picture import draw_comparison
from pu_unet_monai.comparison.protocol import Protocol
from pu_unet_monai.comparison.table import write_tables
from pu_unet_monai.comparison.variants import NETWORK, PRESET, make_variants
from pu_unet_monai.config_keys import check_keys, parse_settings
from pu_unet_monai.errors import INTERRUPTED, UserError
from pu_unet_monai.printable import say, say_lines

__all__ = ["add_arguments", "run"]

_OWN = ("seed", "bundle_root", "dataset_dir", "datalist_file", "output_dir", "ckpt_dir", "resume", "pretrained")
"""Keys that the command sets itself, or that would make the variants start unequal."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--bundle", type=Path, required=True, help="folder of a bundle that trains")
    add_trust(parser)
    parser.add_argument("--dataset-dir", type=Path, required=True, help="folder of the dataset")
    parser.add_argument("--datalist", type=Path, required=True, help="its datalist, as data_prep writes it")
    parser.add_argument("--output", type=Path, required=True, help="folder for trainings, table and picture")
    parser.add_argument(
        "--vary",
        metavar="KEY=a,b,c",
        action="append",
        required=True,
        help="a key of train.json and its values; network=NAME,NAME:OPTION=VALUE with names of networks; "
        "preset=none,NAME with files of configs/presets; repeated, all combinations are trained",
    )
    parser.add_argument("--seeds", type=_seeds, default=[0], help="such as 0,1,2 (default 0)")
    parser.add_argument("--split", default="test", help="the part that scores are of (default test)")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a key of train.json for all trainings: max_epochs=40, image_size=128; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    """Train and evaluate every variant under every seed that is not done yet, then write table and picture.

    Killed at any time, the same command goes on from the last whole epoch; with more variants or seeds, only those are
    trained. A training that fails does not stop the others.

    Args:
        args: the parsed options.

    Returns:
        The exit code: 0 if all trainings are done, 1 if some failed, 130 after Ctrl-C.

    Raises:
        UserError: if an option is wrong, a variant cannot be built, or the output holds trainings made in another way.
    """
    protocol = Protocol(args.bundle, args.dataset_dir, args.datalist, args.split, parse_settings(args.set), args.output)
    _check(args, protocol)
    variants = make_variants(args.vary, protocol.training_config)
    cells = [Cell(variant, seed, protocol) for seed in args.seeds for variant in variants]
    if problems := [problem for cell in cells if (problem := cell.problem())]:
        raise UserError(f"{problems[0]} (of {len(problems)} such folders): choose another --output, or remove it.")
    try:
        say(f"checking {len(variants)} variants")
        costs = load_or_measure_costs(variants, protocol)
        _announce([cell for cell in cells if not cell.is_done], costs)
        failures = _run_each(cells, costs, protocol)
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from the last whole epoch")
        return INTERRUPTED
    done = [cell for cell in cells if cell.is_done]
    say_lines((args.output / "compare.md").read_text(encoding="utf-8"))
    for title, reason in failures.items():
        say(f"failed: {title}: {reason}")
    if others := _not_asked_for(args.output, cells):
        say(f"done before, and not in this table: {', '.join(others)}; name all that it shall show")
    say(f"{len(done)} of {len(cells)} trainings done; compare.md, .json and .png, scores.csv: {args.output}")
    return 1 if failures else 0


def _announce(cells: Sequence[Cell], costs: Mapping[str, Mapping[str, Any]]) -> None:
    """Say how long it will take, but for loading, validation and evaluation."""
    seconds = sum(costs[cell.variant.name]["steps"] * costs[cell.variant.name]["step_seconds"] for cell in cells)
    if cells:
        say(f"{len(cells)} trainings to do, whose steps take about {seconds / 60:.3g} minutes")


def _run_each(cells: Sequence[Cell], costs: Mapping[str, Mapping[str, Any]], protocol: Protocol) -> dict[str, str]:
    """Run all cells, write table and picture after each, and return why some failed."""
    failures: dict[str, str] = {}
    for number, cell in enumerate(cells, 1):
        is_old = cell.is_done
        say(f"{number} of {len(cells)}: {cell.title}{': done before' if is_old else ''}")
        try:
            cell.run()
        except UserError as error:
            failures[cell.title] = str(error)
            say(f"failed: {cell.title}: {error}")
        done = [cell for cell in cells if cell.is_done]
        if not is_old or number == len(cells):
            write_tables(done, costs, failures, protocol)
            if done:
                draw_comparison(done, protocol.output / "compare.png")
    return failures


def _not_asked_for(output: Path, cells: Sequence[Cell]) -> list[str]:
    """Return the folders of finished trainings that are not among the cells."""
    asked = {cell.folder for cell in cells}
    done = (path.parent for path in output.glob("*/seed_*/done.json"))
    return sorted(str(folder.relative_to(output)) for folder in done if folder not in asked)


def _check(args: argparse.Namespace, protocol: Protocol) -> None:
    """Refuse what can be seen to be wrong before anything is built."""
    varied = [_definition(text.partition("=")[0]) for text in args.vary]
    settings = [_definition(key) for key in protocol.settings]
    if own := [key for key in (*varied, *settings) if _top(key) in _OWN]:
        raise UserError(
            f"{', '.join(own)}: compare sets these itself; see --seeds, --dataset-dir, --datalist, --output."
        )
    if twice := [key for key in dict.fromkeys(varied) if key in settings or varied.count(key) > 1]:
        raise UserError(f"{', '.join(twice)}: given more than once with --vary and --set; leave one out.")
    config = protocol.training_config
    check_keys([key for key in varied if key != PRESET], config, f"--vary: {protocol.config('train.json')}")
    protocol.check(args.trust)


def _definition(key: str) -> str:
    """Return ``network_def`` for all that reaches it, the name of a network too; other keys as they are."""
    return "network_def" if _top(key) in (NETWORK, "network_def") else key


def _top(key: str) -> str:
    """Return the top-level key that an override reaches."""
    return key.lstrip("+~").split("#")[0]


def _seeds(text: str) -> list[int]:
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise argparse.ArgumentTypeError(f"{text!r}: expected numbers with commas between, such as 0,1,2")
    return list(dict.fromkeys(int(seed) for seed in text.split(",")))

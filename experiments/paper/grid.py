"""Train and evaluate every variant on every dataset under every seed, by ``compare``.

    OMP_NUM_THREADS=1 python -m experiments.paper.grid --data FOLDER --output output/paper
    OMP_NUM_THREADS=1 python -m experiments.paper.grid --data FOLDER --output output/paper --datasets busi --seeds 0

Killed at any time, the same command goes on from the last whole epoch, and what ``experiments.paper.collect`` has kept
is not trained again, so that a grid may be trained in parts, on several machines. It takes days on one core; datasets
can run beside each other. ``FOLDER`` holds ``Kvasir-SEG``, ``Dataset_BUSI_with_GT`` and ``ISIC2018`` as published.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.paper.collect import RESULTS, check_kept, kept_trainings, shared_by_all
from experiments.paper.protocol import DATASETS, SEEDS, SETTINGS, VARIANTS, Dataset
from pu_unet_monai.__main__ import main as run_command
from pu_unet_monai.comparison.protocol import Protocol
from pu_unet_monai.config_keys import parse_settings
from pu_unet_monai.errors import INTERRUPTED, UserError, print_error
from pu_unet_monai.files import make_folder, read_json, write_json

REPOSITORY = Path(__file__).parents[2]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the grid, and return the exit code: 0, or the largest of the comparisons'."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.paper.grid",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the datasets")
    parser.add_argument("--output", type=Path, required=True, help="folder for datalists and comparisons")
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--results", type=Path, default=RESULTS, help="what is kept there is not trained again")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="beyond the protocol, for a trial"
    )
    args = parser.parse_args(argv)
    try:
        worst = 0
        for name in args.datasets:
            for seed in args.seeds:
                code = compare(name, seed, args)
                if code == INTERRUPTED:
                    return code
                worst = max(worst, code)
        return worst
    except UserError as error:
        print_error(error)
        return 2


def compare(name: str, seed: int, args: argparse.Namespace) -> int:
    """Run the comparison of what is left to train on one dataset under one seed, and return its exit code.

    Raises:
        UserError: if bundle or datalist are others than those of the trainings that are kept.
    """
    dataset = DATASETS[name]
    settings = [f"{key}={json.dumps(value)}" for key, value in SETTINGS.items()] + args.set
    kept = kept_trainings(args.results / name, parse_settings(settings))
    variants = [variant for variant in args.variants if (variant, seed) not in kept]
    print(f"{name}, seed {seed}: {len(args.variants) - len(variants)} kept before, {len(variants)} others", flush=True)
    if not variants:
        return 0
    datalist = prepare(name, dataset, args.data, args.output)
    if kept:  # what could not be put together afterwards is not to be trained for days
        bundle, folder = REPOSITORY / "bundles" / dataset.bundle, args.data / dataset.folder
        protocol = Protocol(bundle, folder, datalist, "test", parse_settings(settings), args.output)
        check_kept(args.results / name, shared_by_all(protocol.identity()))
    options = {
        "--bundle": REPOSITORY / "bundles" / dataset.bundle,
        "--dataset-dir": args.data / dataset.folder,
        "--datalist": datalist,
        "--output": args.output / name / f"seed_{seed}",
        "--vary": f"network={','.join(variants)}",
        "--seeds": seed,
    }
    command = ["compare", *(str(part) for option in options.items() for part in option)]
    return run_command([*command, *(part for setting in settings for part in ("--set", setting))])


def prepare(name: str, dataset: Dataset, data: Path, output: Path) -> Path:
    """Write the datalist of a dataset, with the part of its training images that the protocol uses.

    Raises:
        UserError: if the dataset is not there, or not as published.
    """
    path = output / f"{name}.json"
    if path.is_file():
        return path
    make_folder(output)
    whole = output / f"{name}_whole.json"
    importlib.import_module(f"data_prep.{dataset.module}").prepare(data / dataset.folder, whole)
    content = read_json(whole)
    content["training"] = content["training"][:: dataset.every]
    content["provenance"]["training images used"] = f"one of {dataset.every}"
    write_json(path, content)
    whole.unlink()
    return path


if __name__ == "__main__":
    sys.exit(main())

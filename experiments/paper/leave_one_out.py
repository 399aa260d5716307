"""Train the brain bundle on all heads at hand but one, test on that one, for every head in turn.

    OMP_NUM_THREADS=1 python -m experiments.paper.leave_one_out --dataset-dir Task01_BrainTumour --output output/heads

Each training takes half an hour to an hour of one core; killed at any time, the same command goes on from the last
whole epoch. The scores of every head are put into ``experiments/paper/results/brain`` when its training is done, and
what is there is not trained again, so that heads may be trained on several machines. The validation part, which chooses
the best weights, is the training heads again, so that the head for test takes no part in any choice.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.brats import find_cases
from data_prep.cases import require_folders
from experiments.brain_report.prepare import prepare
from experiments.paper.collect import RESULTS, check_same_protocol
from pu_unet_monai.__main__ import main as run_command
from pu_unet_monai.config_keys import parse_settings
from pu_unet_monai.errors import INTERRUPTED, UserError, print_error
from pu_unet_monai.evaluation.scores import read_rows
from pu_unet_monai.files import read_json, write_csv, write_json
from pu_unet_monai.runtime.machine import machine

BUNDLE = Path(__file__).parents[2] / "bundles" / "pu_unet_brats"
SETTINGS = {
    "roi_size": [96, 96, 96],
    "batch_size": 2,
    "max_epochs": 60,
    "finetune_epochs": 12,
    "val_interval": 6,
    "learning_rate": 0.001,
    "num_workers": 0,
}
"""Those that the weights in the bundle were trained with."""
_CELL = Path("placement=low_resolution") / "seed_42"


def main(argv: Sequence[str] | None = None) -> int:
    """Train on each part of the heads, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.paper.leave_one_out",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--dataset-dir", type=Path, required=True, help="heads, in the Decathlon's layout or BraTS's")
    parser.add_argument("--output", type=Path, required=True, help="folder for datalists and trainings")
    parser.add_argument("--results", type=Path, default=RESULTS / "brain", help="folder for the scores")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="instead, for a trial")
    args = parser.parse_args(argv)
    try:
        return leave_one_out(args)
    except UserError as error:
        print_error(error)
        return 2


def leave_one_out(args: argparse.Namespace) -> int:
    """Train and test for every head that is not kept, and keep its scores.

    Raises:
        UserError: if the results are of other settings, or trainings failed.
    """
    require_folders(args.dataset_dir)
    names = sorted(case.name for case in find_cases(args.dataset_dir)[0])
    protocol = {"training_heads": len(names) - 1, "settings": {**SETTINGS, **parse_settings(args.set)}}
    rows = _kept(args.results, protocol)
    missing = []
    for name in names:
        if any(row["case"] == name for row in rows):
            print(f"{name}: kept before", flush=True)
            continue
        datalist = args.output / f"{name}.json"
        if not datalist.is_file():
            prepare(args.dataset_dir, datalist, name, seed=42)
        code = _train(args, datalist, args.output / name)
        if code == INTERRUPTED:
            return code
        cell = args.output / name / _CELL
        if not (cell / "done.json").is_file():
            missing.append(str(cell))
            continue
        rows = sorted([*rows, *read_rows(cell / "scores.csv")], key=lambda row: row["case"])
        write_json(args.results / "protocol.json", {**protocol, "machine": machine()})
        write_csv(args.results / "scores.csv", rows)
    if missing:
        raise UserError(f"{', '.join(missing)}: not finished; see training.log there.")
    print(args.results)
    return 0


def _kept(results: Path, protocol: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the scores of the heads that are done."""
    if not (results / "scores.csv").is_file():
        return []
    check_same_protocol(results, read_json(results / "protocol.json"), protocol, protocol)
    return read_rows(results / "scores.csv")


def _train(args: argparse.Namespace, datalist: Path, output: Path) -> int:
    command = ["compare", "--bundle", BUNDLE, "--dataset-dir", args.dataset_dir, "--datalist", datalist]
    command += ["--output", output, "--vary", "placement=low_resolution", "--seeds", "42"]
    settings = [f"{key}={json.dumps(value)}" for key, value in SETTINGS.items()] + args.set
    return run_command([*map(str, command), *(part for text in settings for part in ("--set", text))])


if __name__ == "__main__":
    sys.exit(main())

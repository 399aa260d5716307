"""Train the brain bundle on all heads at hand but one, test on that one, for every head in turn.

    OMP_NUM_THREADS=1 python -m experiments.paper.leave_one_out --dataset-dir Task01_BrainTumour --output output/heads

Each training takes half an hour to an hour of one core; killed at any time, the same command goes on from the last
whole epoch. When all are done, the scores of every head are put into ``experiments/paper/results/brain``. The
validation part, which chooses the best weights, is the training heads again, so that the head for test takes no part in
any choice.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep.brats import find_cases
from data_prep.cases import require_folders
from experiments.brain_report.prepare import prepare
from experiments.paper.collect import RESULTS
from pu_unet_monai.__main__ import main as run_command
from pu_unet_monai.errors import INTERRUPTED, UserError, print_error
from pu_unet_monai.evaluation.scores import read_rows
from pu_unet_monai.files import write_csv, write_json
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
    """Train and test for every head, and keep the scores once all are there."""
    require_folders(args.dataset_dir)
    names = sorted(case.name for case in find_cases(args.dataset_dir)[0])
    for name in names:
        datalist = args.output / f"{name}.json"
        if not datalist.is_file():
            prepare(args.dataset_dir, datalist, name, seed=42)
        code = _train(args, datalist, args.output / name)
        if code == INTERRUPTED:
            return code
    cells = [args.output / name / _CELL for name in names]
    if missing := [str(cell) for cell in cells if not (cell / "done.json").is_file()]:
        raise UserError(f"{', '.join(missing)}: not finished; see training.log there.")
    write_csv(args.results / "scores.csv", [row for cell in cells for row in read_rows(cell / "scores.csv")])
    write_json(args.results / "protocol.json", {"settings": SETTINGS, "machine": machine()})
    print(args.results)
    return 0


def _train(args: argparse.Namespace, datalist: Path, output: Path) -> int:
    command = ["compare", "--bundle", BUNDLE, "--dataset-dir", args.dataset_dir, "--datalist", datalist]
    command += ["--output", output, "--vary", "placement=low_resolution", "--seeds", "42"]
    changed = {text.partition("=")[0] for text in args.set}
    settings = [f"{key}={json.dumps(value)}" for key, value in SETTINGS.items() if key not in changed] + args.set
    return run_command([*map(str, command), *(part for text in settings for part in ("--set", text))])


if __name__ == "__main__":
    sys.exit(main())

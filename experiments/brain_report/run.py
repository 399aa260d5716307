"""Train and evaluate the brain report's set-ups one after the other, and table them.

    python -m experiments.brain_report.run --dataset-dir Task01_BrainTumour --output output/brain_report

Killed at any time, the same command goes on from the last whole epoch.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from data_prep.volume_statistics import statistics_file
from experiments.brain_report.experiment import PARTS, Experiment
from experiments.brain_report.picture import draw_slice
from experiments.brain_report.prepare import prepare
from experiments.brain_report.set_ups import SET_UPS, config_files
from experiments.brain_report.table import write_table
from pu_unet_monai.config_keys import check_keys, parse_settings
from pu_unet_monai.errors import INTERRUPTED, UserError, print_error
from pu_unet_monai.files import write_json

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments, those of the program by default.

    Returns:
        The exit code: 0 if all is done, 2 if an option, a file or a training is wrong, 130 if interrupted.
    """
    args = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a training does not outlive this program
    try:
        _run(args)
    except UserError as error:
        print_error(error)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last whole epoch", file=sys.stderr)
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.brain_report.run",
        description="Compare the brain report's set-ups.",
        allow_abbrev=False,
    )
    parser.add_argument("--dataset-dir", type=Path, required=True, help="brain MRI as the Decathlon's Task01 or BraTS")
    parser.add_argument("--output", type=Path, required=True, help="folder for trainings, table and picture")
    parser.add_argument("--set-ups", nargs="+", choices=SET_UPS, default=list(SET_UPS), help="(default all)")
    parser.add_argument("--epochs", type=int, help="epochs of every set-up (by default each has its own number)")
    parser.add_argument("--test-case", help="the case for test, all others train (default the last by name)")
    parser.add_argument("--seed", type=int, default=42, help="(default 42)")
    parser.add_argument("--threads", type=int, default=1, help="processor cores to use (default 1)")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="override a key of all set-ups; may be repeated"
    )
    return parser


def _run(args: argparse.Namespace) -> None:
    settings = parse_settings(args.set)
    epochs = {name: SET_UPS[name].epochs if args.epochs is None else args.epochs for name in args.set_ups}
    for name in args.set_ups:
        _check(name, epochs[name], settings)
    output, datalist = args.output, args.output / "datalist.json"
    _prepare(args, datalist, settings)
    experiment = Experiment(
        output,
        args.threads,
        {
            "dataset_dir": args.dataset_dir,
            "datalist_file": datalist,
            "seed": args.seed,
            "num_workers": 0,
            **_composite_box(datalist),
            **settings,
        },
    )
    for name in args.set_ups:
        experiment.train(name, epochs[name])
        for part in PARTS:
            experiment.evaluate(name, part)
    write_table(output, args.set_ups, settings, args.threads)
    draw_slice(output, args.set_ups, args.dataset_dir, datalist)
    print(f"wrote {output / 'table.md'}, table.json and slice.png")


def _check(name: str, epochs: int, settings: Mapping[str, Any]) -> None:
    config = ConfigParser.load_config_files(config_files(name))
    check_keys(settings, config, f"--set for {name}")
    interval = {**config, **settings}["val_interval"]
    if epochs < 1 or epochs % interval:
        raise UserError(
            f"--epochs {epochs}: the best weights are chosen every {interval} epochs; give a multiple of that, or also "
            "--set val_interval=1."
        )


def _prepare(args: argparse.Namespace, datalist: Path, settings: Mapping[str, Any]) -> None:
    """Write the datalist and what the folder's results are made with; refuse to mix them with others."""
    path = args.output / "settings.json"
    asked = {"dataset_dir": str(args.dataset_dir.resolve()), "test_case": args.test_case, "seed": args.seed}
    asked["set"] = settings
    if path.is_file():
        earlier = json.loads(path.read_text(encoding="utf-8"))
        if earlier != asked:
            raise UserError(
                f"--output {args.output}: holds results of {earlier}, not of {asked}; choose another folder."
            )
        return
    prepare(args.dataset_dir, datalist, args.test_case, args.seed)
    write_json(path, asked)


def _composite_box(datalist: Path) -> dict[str, list[int]]:
    path = statistics_file(datalist)
    statistics = json.loads(path.read_text(encoding="utf-8"))
    box = statistics["foreground_box"]
    if box is None:
        reason = statistics["foreground_box_reason"]
        raise UserError(f"{path}: no composite box, since {reason}; bring all cases to one grid.")
    return {"box_start": box["start"], "box_end": box["end"]}


if __name__ == "__main__":
    sys.exit(main())

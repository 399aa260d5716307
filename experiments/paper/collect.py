"""Keep of a grid what its tables are made from: the scores of every image, and how each training went.

    python -m experiments.paper.collect --grid output/paper          # writes experiments/paper/results/<dataset>/

All finished trainings are kept, whichever call of the grid made them. ``scores.csv`` has a row for every image, variant
and seed; ``trainings.csv`` a row for every training: its seconds (epochs times their median), the epoch of the best
weights, the largest gradient norm, how many gradients were not finite, and the share of clipped outputs in the last
epoch; ``grid.json`` the protocol, the machine, and why trainings failed.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.paper.protocol import DATASETS, VARIANTS
from pu_unet_monai.comparison.variants import Variant
from pu_unet_monai.errors import UserError, print_error
from pu_unet_monai.evaluation.scores import read_rows
from pu_unet_monai.files import read_csv, read_json, write_csv, write_json

RESULTS = Path(__file__).parent / "results"
_KEPT = ("machine", "failed", "split", "package", "image_size", "channels", "max_epochs", "val_interval")


def main(argv: Sequence[str] | None = None) -> int:
    """Collect, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.paper.collect",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--grid", type=Path, required=True, help="folder that experiments.paper.grid wrote")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder")
    args = parser.parse_args(argv)
    found = [name for name in DATASETS if (args.grid / name / "compare.json").is_file()]
    try:
        if not found:
            raise UserError(f"--grid {args.grid}: holds no comparison; run experiments.paper.grid first.")
        for name in found:
            collect(args.grid / name, args.output / name)
    except UserError as error:
        print_error(error)
        return 2
    print(f"{', '.join(found)}: {args.output}")
    return 0


def collect(comparison: Path, output: Path) -> None:
    """Keep what matters of a comparison.

    Args:
        comparison: the folder that ``compare`` wrote.
        output: where to.
    """
    results = read_json(comparison / "compare.json")
    cells = [(name, folder) for name in VARIANTS for folder in _cells(comparison, name)]
    scores = [row for name, folder in cells if _is_done(folder) for row in _scores(folder, name)]
    trainings = [_training(folder, name) for name, folder in cells]
    write_json(output / "grid.json", {key: results[key] for key in _KEPT if key in results})
    write_csv(output / "scores.csv", scores, ["variant"])
    write_csv(output / "trainings.csv", trainings, ["variant"])


def _cells(comparison: Path, variant: str) -> list[Path]:
    folder = comparison / Variant(variant, {}).folder
    return sorted(path.parent for path in folder.glob("seed_*/epochs.csv"))


def _is_done(folder: Path) -> bool:
    return (folder / "done.json").is_file()


def _scores(folder: Path, variant: str) -> list[dict[str, Any]]:
    return [{"variant": variant, "seed": _seed(folder), **row} for row in read_rows(folder / "scores.csv")]


def _seed(folder: Path) -> str:
    return folder.name.removeprefix("seed_")


def _training(folder: Path, variant: str) -> dict[str, Any]:
    epochs = read_csv(folder / "epochs.csv")
    validated = [row for row in epochs if row.get("dice")]
    return {
        "variant": variant,
        "seed": _seed(folder),
        "done": int(_is_done(folder)),
        "epochs": len(epochs),
        "best_epoch": max(validated, key=lambda row: float(row["dice"]))["epoch"] if validated else "",
        # other programs made single epochs longer
        "seconds": round(statistics.median(_numbers(epochs, "seconds") or [0]) * len(epochs), 1),
        "gradient_norm_max": max(_numbers(epochs, "gradient_norm_max"), default=""),
        "non_finite_gradients": int(sum(_numbers(epochs, "non_finite_gradients"))),
        "clipped_share": epochs[-1].get("clipped_share", "") if epochs else "",
    }


def _numbers(rows: Sequence[Mapping[str, str]], column: str) -> list[float]:
    """Return the finite numbers of a column."""
    numbers = [float(row[column]) for row in rows if row.get(column)]
    return [number for number in numbers if math.isfinite(number)]


if __name__ == "__main__":
    sys.exit(main())

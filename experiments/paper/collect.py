"""Keep of a grid what its tables are made from: the scores of every image, and how each training went.

    python -m experiments.paper.collect --grid output/paper          # writes experiments/paper/results/<dataset>/

What is kept already stays, so that a grid may be trained in parts, on several machines: the grid does not repeat what
it finds here. ``scores.csv`` has a row for every image, variant and seed; ``trainings.csv`` a row for every training:
its seconds (epochs times their median), the epoch of the best weights, the largest gradient norm, how many gradients
were not finite, the share of clipped outputs in the last epoch, why it failed, and the machine; ``protocol.json`` what
all share.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.paper.protocol import DATASETS, VARIANTS
from pu_unet_monai.comparison.variants import Variant
from pu_unet_monai.errors import UserError, print_error
from pu_unet_monai.evaluation.scores import read_rows
from pu_unet_monai.files import read_csv, read_json, write_csv, write_json

RESULTS = Path(__file__).parent / "results"
_OF_A_RUN = ("notice", "machine", "package", "num_workers", "example_cases", "variants", "failed")
"""What ``compare.json`` says beside the protocol: split, settings, and the hashes of configurations and datalist."""
_NO_SETTINGS = ("split", "num_workers")
_MACHINE = ("processor", "gpu", "amx", "torch", "monai")


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
    found = {name: sorted((args.grid / name).glob("seed_*/compare.json")) for name in DATASETS}
    try:
        if not any(found.values()):
            raise UserError(f"--grid {args.grid}: holds no comparison; run experiments.paper.grid first.")
        for name, paths in found.items():
            for path in paths:
                collect(path.parent, args.output / name)
    except UserError as error:
        print_error(error)
        return 2
    print(f"{', '.join(name for name, paths in found.items() if paths)}: {args.output}")
    return 0


def collect(comparison: Path, output: Path) -> None:
    """Add what matters of a comparison to what is kept.

    Args:
        comparison: the folder that ``compare`` wrote.
        output: where to.

    Raises:
        UserError: if trainings of another protocol are kept there.
    """
    results = read_json(comparison / "compare.json")
    shared = shared_by_all(results)
    check_kept(output, shared)
    done = kept_trainings(output, shared)
    cells = [
        (name, folder)
        for name in VARIANTS
        for folder in _cells(comparison, name)
        if _is_done(folder) or (name, int(_seed(folder))) not in done
    ]
    scores = [row for name, folder in cells if _is_done(folder) for row in _scores(folder, name)]
    trainings = [_training(folder, name, results) for name, folder in cells]
    write_json(output / "protocol.json", shared)
    write_csv(output / "scores.csv", _merged(output / "scores.csv", scores), ["variant"])
    write_csv(output / "trainings.csv", _merged(output / "trainings.csv", trainings), ["variant"])


def shared_by_all(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return what all trainings of a dataset have to share, of what ``compare`` says of its own."""
    return {key: value for key, value in identity.items() if key not in _OF_A_RUN}


def check_kept(folder: Path, shared: Mapping[str, Any]) -> None:
    """Check that what is kept of a dataset, if anything, was made as what is to be added.

    Raises:
        UserError: naming all that differ.
    """
    if earlier := _kept_protocol(folder):
        check_same_protocol(folder, earlier, shared, {**earlier, **shared})


def check_same_protocol(folder: Path, earlier: Mapping[str, Any], now: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Check that what a folder keeps was made as what is to be added.

    Args:
        folder: where results are kept.
        earlier: the settings of those.
        now: the settings of what is to be added.
        keys: which of them have to be the same.

    Raises:
        UserError: naming all that differ.
    """
    others = [f"{key} {earlier.get(key)!r}, not {now.get(key)!r}" for key in keys if earlier.get(key) != now.get(key)]
    if others:
        raise UserError(f"{folder}: keeps trainings of {'; '.join(others)}; choose another folder.")


def kept_trainings(folder: Path, settings: Mapping[str, Any]) -> set[tuple[str, int]]:
    """Return the variant and seed of all finished trainings that are kept of a dataset, if these are their settings."""
    protocol = _kept_protocol(folder)
    if not protocol or _settings_of(protocol) != _settings_of(settings):
        return set()
    return {(row["variant"], int(row["seed"])) for row in read_csv(folder / "trainings.csv") if row["done"] == "1"}


def _settings_of(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a protocol was set, and may change results."""
    return {k: v for k, v in protocol.items() if k not in _NO_SETTINGS and not k.endswith("(SHA-256)")}


def _kept_protocol(folder: Path) -> dict[str, Any]:
    path = folder / "protocol.json"
    return read_json(path) if path.is_file() else {}


def _merged(path: Path, new: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows of a file with those of other trainings, or of the same made later, in the tables' order."""
    replaced = {(row["variant"], row["seed"]) for row in new}
    old = read_csv(path) if path.is_file() else []
    rows = [*(row for row in old if (row["variant"], row["seed"]) not in replaced), *new]
    return sorted(rows, key=lambda row: (list(VARIANTS).index(row["variant"]), int(row["seed"])))


def _cells(comparison: Path, variant: str) -> list[Path]:
    folder = comparison / Variant(variant, {}).folder
    return sorted(path.parent for path in folder.glob("seed_*/epochs.csv"))


def _is_done(folder: Path) -> bool:
    return (folder / "done.json").is_file()


def _scores(folder: Path, variant: str) -> list[dict[str, Any]]:
    return [{"variant": variant, "seed": _seed(folder), **row} for row in read_rows(folder / "scores.csv")]


def _seed(folder: Path) -> str:
    return folder.name.removeprefix("seed_")


def _training(folder: Path, variant: str, results: Mapping[str, Any]) -> dict[str, Any]:
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
        "failed": results["failed"].get(f"{variant}, seed {_seed(folder)}", ""),
        "package": results["package"],
        **{key: results["machine"][key] for key in _MACHINE},
    }


def _numbers(rows: Sequence[Mapping[str, str]], column: str) -> list[float]:
    """Return the finite numbers of a column."""
    numbers = [float(row[column]) for row in rows if row.get(column)]
    return [number for number in numbers if math.isfinite(number)]


if __name__ == "__main__":
    sys.exit(main())

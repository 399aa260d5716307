"""Kvasir-SEG: 1000 colonoscopy images with one polyp mask each, split 80/10/10.

python -m data_prep.kvasir --source Kvasir-SEG --output kvasir.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep import cli, datalist
from data_prep.cases import count_groups, require_folders
from data_prep.duplicates import Thresholds, with_groups
from data_prep.pairs import check_pairs, pair_by_stem
from data_prep.splits import holdout_split

__all__ = ["main", "prepare"]

DATASET = datalist.Dataset(
    name="Kvasir-SEG",
    description="Polyps in colonoscopy images, one binary mask per image",
    licence="research and education; commercial use needs permission of the owners",
    command="python -m data_prep.kvasir",
    bundle="pu_unet_kvasir",
)
SAME_SCENE = Thresholds(coarse=0.8, fine=0.42)


def prepare(source: Path, output: Path, seed: int = 42) -> None:
    """Check Kvasir-SEG, group its duplicates and write its datalist.

    Args:
        source: folder with ``images/<id>.jpg`` and ``masks/<id>.jpg``.
        output: datalist to write.
        seed: seed of the split.

    Raises:
        UserError: if files are missing or bad; nothing is written then.
    """
    datalist.check_output(output)
    images, masks = source / "images", source / "masks"
    require_folders(images, masks)
    cases, problems = pair_by_stem(images, masks, [".jpg"], [".jpg"])
    check_pairs(cases, problems)
    cases = with_groups(cases, SAME_SCENE)
    split = holdout_split(cases, seed)
    datalist.write(output, source, DATASET, split, seed, datalist.HOLDOUT, **count_groups(cases))
    print(datalist.summary([output], source, DATASET, split))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return cli.run(_prepare, cli.dataset_parser("kvasir", "Write the datalist of Kvasir-SEG."), argv)


def _prepare(args: argparse.Namespace) -> None:
    prepare(args.source, args.output, args.seed)


if __name__ == "__main__":
    sys.exit(main())

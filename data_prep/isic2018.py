"""ISIC 2018 task 1: skin lesions. The official split where its folders exist, otherwise 80/10/10.

    python -m data_prep.isic2018 --source ISIC2018 --output isic2018.json

The training part holds some images twice, mostly an original and a recoloured copy. They are grouped (see
``duplicates``), and a group stays in one split of the 80/10/10. All 66 pairs with a fine correlation of 0.58 and more
were looked at: from 0.66 up all but one are the same lesion; below, other lesions of similar outline prevail, and
three copies that were also moved or scaled are missed. This finds 41 pairs among the 2594 images.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep import cli, datalist
from data_prep.cases import count_groups, require_folders
from data_prep.duplicates import with_groups
from data_prep.isic import SAME_SCENE, find_cases, official_split
from data_prep.pairs import check_pairs
from data_prep.splits import holdout_split

__all__ = ["main", "prepare"]

DATASET = datalist.Dataset(
    name="ISIC 2018 task 1",
    description="Skin lesions in dermoscopic images, one binary mask per image",
    licence="non-commercial research (sources disagree: CC BY-NC 4.0 or CC0)",
    command="python -m data_prep.isic2018",
    bundle="pu_unet_isic2018",
)
PARTS = {"training": "Training", "validation": "Validation", "test": "Test"}


def prepare(source: Path, output: Path, seed: int = 42) -> None:
    """Check ISIC 2018 and write its datalist.

    Args:
        source: folder with ``ISIC2018_Task1-2_Training_Input`` and ``ISIC2018_Task1_Training_GroundTruth``, and
            where at hand the same for ``Validation`` and ``Test``.
        output: datalist to write.
        seed: seed of the split where there is no official one.

    Raises:
        UserError: if files are missing or bad; nothing is written then.
    """
    datalist.check_output(output)
    require_folders(*_folders(source, "Training"))
    missing = [folder.name for part in PARTS.values() for folder in _folders(source, part) if not folder.is_dir()]
    if missing:
        print(f"no official split ({', '.join(missing)} not found): splitting the training part 80/10/10;")
        print("scores on it cannot be compared with published ones")
        cases, problems = find_cases(*_folders(source, "Training"))
        check_pairs(cases, problems)
        cases = with_groups(cases, SAME_SCENE)
        split, how, numbers = holdout_split(cases, seed), datalist.HOLDOUT, count_groups(cases)
    else:
        folders = {name: _folders(source, part) for name, part in PARTS.items()}
        split, how, numbers = official_split(folders), "official", {}
    datalist.write(output, source, DATASET, split, seed, how, **numbers)
    print(datalist.summary([output], source, DATASET, split, official=not missing))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return cli.run(_prepare, cli.dataset_parser("isic2018", "Write the datalist of ISIC 2018 task 1."), argv)


def _prepare(args: argparse.Namespace) -> None:
    prepare(args.source, args.output, args.seed)


def _folders(source: Path, part: str) -> tuple[Path, Path]:
    return source / f"ISIC2018_Task1-2_{part}_Input", source / f"ISIC2018_Task1_{part}_GroundTruth"


if __name__ == "__main__":
    sys.exit(main())

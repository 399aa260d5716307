"""ISIC 2017 part 1: skin lesions, in the official split of 2000, 150 and 600 images.

    python -m data_prep.isic2017 --source ISIC2017 --output isic2017.json

Nothing is shuffled or moved. Images that look the same in several parts are reported, and grouped in the datalist
(see ``duplicates``, with the thresholds of ``isic``, which no image of 2017 has tested).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep import cli, datalist
from data_prep.cases import count_groups, listed, require_folders
from data_prep.duplicates import with_groups
from data_prep.isic import SAME_SCENE, official_split
from data_prep.splits import Split

__all__ = ["main", "prepare"]

DATASET = datalist.Dataset(
    name="ISIC 2017 part 1",
    description="Skin lesions in dermoscopic images, one binary mask per image",
    licence="said to be CC0 on the challenge's data page; check it there before use",
    command="python -m data_prep.isic2017",
    bundle="r2_unet_isic2017",
)
PARTS = {"training": "Training", "validation": "Validation", "test": "Test_v2"}
PUBLISHED = {"training": 2000, "validation": 150, "test": 600}
"""Images of each part (Codella et al. 2017)."""


def prepare(source: Path, output: Path) -> None:
    """Check ISIC 2017, report images that look the same in several parts, and write its datalist.

    Args:
        source: folder with ``ISIC-2017_<part>_Data`` and ``ISIC-2017_<part>_Part1_GroundTruth`` for ``Training``,
            ``Validation`` and ``Test_v2``.
        output: datalist to write.

    Raises:
        UserError: if files are missing or bad; nothing is written then.
    """
    datalist.check_output(output)
    folders = {name: _folders(source, part) for name, part in PARTS.items()}
    require_folders(*(folder for pair in folders.values() for folder in pair))
    split = _with_groups(official_split(folders))
    shared = _in_several_parts(split)
    numbers = count_groups([case for cases in split.values() for case in cases])
    numbers["groups_in_several_parts"] = len(shared)
    datalist.write(output, source, DATASET, split, None, "official", **numbers)
    for line in [*_other_counts(split), *_report(shared)]:
        print(line)
    print(datalist.summary([output], source, DATASET, split, official=True))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = cli.dataset_parser("isic2017", "Write the datalist of ISIC 2017 part 1.", seeded=False)
    return cli.run(_prepare, parser, argv)


def _prepare(args: argparse.Namespace) -> None:
    prepare(args.source, args.output)


def _folders(source: Path, part: str) -> tuple[Path, Path]:
    return source / f"ISIC-2017_{part}_Data", source / f"ISIC-2017_{part}_Part1_GroundTruth"


def _with_groups(split: Split) -> Split:
    grouped = iter(with_groups([case for cases in split.values() for case in cases], SAME_SCENE))
    return {name: [next(grouped) for _ in cases] for name, cases in split.items()}


def _in_several_parts(split: Split) -> list[str]:
    """Return the groups that are in several parts, a line each: their images with their parts."""
    members: dict[str | None, list[tuple[str, str]]] = {}
    for name, cases in split.items():
        for case in cases:
            members.setdefault(case.group, []).append((case.image.stem, name))
    return [
        ", ".join(f"{stem} ({name})" for stem, name in images)
        for images in members.values()
        if len({name for _, name in images}) > 1
    ]


def _other_counts(split: Split) -> list[str]:
    other = [
        f"{name} has {len(cases)} (published {PUBLISHED[name]})"
        for name, cases in split.items()
        if len(cases) != PUBLISHED[name]
    ]
    if not other:
        return []
    return [f"notice: not the published number of images, so scores cannot be compared: {', '.join(other)}"]


def _report(shared: Sequence[str]) -> list[str]:
    if not shared:
        return []
    return [
        f"notice: {len(shared)} group(s) of images that look the same are in several parts of the official split,",
        "which stays as it is:",
        *listed(shared),
    ]


if __name__ == "__main__":
    sys.exit(main())

"""Gliomas in brain MRI, as the Decathlon's Task01_BrainTumour or as BraTS: split 80/10/10 or into folds.

    python -m data_prep.brats --source Task01_BrainTumour --output brats.json [--folds 5]

A folder with ``dataset.json`` is read as the Decathlon lays it out (4D files). Any other is searched for BraTS cases:
four files a case and ``<case>_seg``, in folders of their own or not. Images come out in the order FLAIR, T1w, T1gd,
T2w. Beside the datalist, ``<its name>_statistics.json`` says what the training part looks like.

Time points of one patient (``BraTS-GLI-00000-000`` and ``-001``) stay in one split.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_prep import cli, datalist, volume_statistics
from data_prep.brain_check import check_cases
from data_prep.cases import Case, count_groups, require_folders
from data_prep.decathlon_layout import CONTENTS, read_decathlon
from data_prep.splits import Split, fold_splits, holdout_split
from pu_unet_monai.data.volume_cases import VolumeCase, find_volume_cases

__all__ = ["DATASET", "find_cases", "main", "prepare", "to_case"]

DATASET = datalist.Dataset(
    name="BraTS",
    description="Gliomas in brain MRI of four modalities (FLAIR, T1w, T1gd, T2w), one label map per case",
    licence="CC BY 4.0 (BraTS 2021, TCIA DOI 10.7937/jc8x-9874) or as your copy says",
    command="python -m data_prep.brats",
    bundle="pu_unet_brats",
    unit="cases",
)
TIME_POINT = re.compile(r"(?P<patient>BraTS-.+-\d+)-\d+")


def prepare(source: Path, output: Path, seed: int = 42, folds: int | None = None) -> None:
    """Check a dataset of brain MRI and write its datalist and statistics, or one of each for every fold.

    Args:
        source: folder of the dataset, in the layout of the Decathlon or of BraTS.
        output: datalist to write; fold k goes to ``<stem>_fold<k>.json`` beside it.
        seed: seed of the split.
        folds: number of folds; None means one split 80/10/10.

    Raises:
        UserError: if files are missing or bad or an option does not fit; nothing is written then.
    """
    outputs = [output.with_name(f"{output.stem}_fold{fold}{output.suffix}") for fold in range(folds or 0)] or [output]
    for path in outputs:
        datalist.check_output(path)
        volume_statistics.check_output(volume_statistics.statistics_file(path))
    require_folders(source)
    found, order, label_numbering, problems = find_cases(source)
    cases = [to_case(case, order) for case in found if case.label is not None]
    # that there are too few is said before all files are read, but not instead of why they are few
    splits = [] if problems or len(cases) < len(found) else _split(cases, folds, seed)
    checked = check_cases(found, label_numbering, order, problems)
    facts = dict(zip(cases, checked, strict=True))

    dataset = replace(DATASET, label_numbering=label_numbering)
    dataset = datalist.with_options(dataset, ["--folds", str(folds)] if folds else [])
    written = [volume_statistics.statistics_file(path) for path in outputs]
    for number, (path, split) in enumerate(zip(outputs, splits, strict=True)):
        how = datalist.HOLDOUT if folds is None else f"fold {number} of {folds}, groups kept together"
        content = volume_statistics.statistics(
            dataset, {part: [facts[case] for case in members] for part, members in split.items()}
        )
        volume_statistics.write(written[number], content)
        datalist.write(path, source, dataset, split, seed, how, **count_groups(cases, dataset.unit))
    print(datalist.summary([*outputs, *written], source, dataset, splits[0]))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = cli.dataset_parser("brats", "Write the datalist and the statistics of brain MRI with gliomas.")
    parser.add_argument("--folds", type=int, help="write this many folds for cross-validation")
    return cli.run(_prepare, parser, argv)


def _prepare(args: argparse.Namespace) -> None:
    prepare(args.source, args.output, args.seed, args.folds)


def find_cases(source: Path) -> tuple[list[VolumeCase], tuple[int, ...] | None, str, list[str]]:
    """Return cases, channel order (None: ours), label numbering and problems of a dataset in either layout."""
    if (source / CONTENTS).exists():
        cases, order, problems = read_decathlon(source)
        return cases, order, "decathlon", problems
    cases, problems = find_volume_cases(source)
    return cases, None, "brats", problems


def to_case(case: VolumeCase, order: tuple[int, ...] | None) -> Case:
    """Return what a datalist writes of a case; its group is the patient where the name tells."""
    time_point = TIME_POINT.fullmatch(case.name)
    return Case(
        image=case.images[0],
        labels=(case.label,) if case.label else (),
        group=time_point["patient"] if time_point else None,
        further_images=case.images[1:],
        channel_order=order,
    )


def _split(cases: Sequence[Case], folds: int | None, seed: int) -> list[Split]:
    return [holdout_split(cases, seed)] if folds is None else fold_splits(cases, folds, seed)


if __name__ == "__main__":
    sys.exit(main())

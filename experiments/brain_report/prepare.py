"""The cases of the experiment: train on all but one, test on that one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from data_prep import datalist, volume_statistics
from data_prep.brain_check import check_cases
from data_prep.brats import DATASET, find_cases, to_case
from data_prep.cases import require_folders
from pu_unet_monai.errors import UserError, join_some
from pu_unet_monai.files import make_folder

__all__ = ["prepare"]

Item = TypeVar("Item")


def prepare(source: Path, output: Path, test_case: str | None, seed: int) -> None:
    """Check a dataset of brain MRI and write its datalist, and its statistics beside it.

    All cases but one train. The same cases are the validation part, which chooses the best weights: with so few there
    is none to spare, and the case for test takes no part in any choice.

    Args:
        source: folder of the dataset, in the layout of the Decathlon or of BraTS.
        output: datalist to write.
        test_case: name of the case for test; None means the last by name.
        seed: seed that the datalist names.

    Raises:
        UserError: if files are bad, or there is no such case or no other; nothing is written then.
    """
    require_folders(source)
    make_folder(output.parent)
    datalist.check_output(output)
    cases, order, numbering, problems = find_cases(source)
    names = sorted(case.name for case in cases)
    if not problems and (len(names) < 2 or test_case not in (None, *names)):
        raise UserError(
            f"--test-case {test_case}: {source} has the cases {join_some(names) or 'none'}; expected two or more, and "
            "one of them for test."
        )
    facts = check_cases(cases, numbering, order, problems)
    for_test = [case.name == (test_case or names[-1]) for case in cases]
    dataset = replace(DATASET, command="python -m experiments.brain_report.run", label_numbering=numbering)
    statistics = volume_statistics.statistics(dataset, _split(facts, for_test))
    volume_statistics.write(volume_statistics.statistics_file(output), statistics)
    entries = [to_case(case, order) for case in cases]
    how = "one case for test, all others for training; the validation part is the training cases again"
    datalist.write(output, source, dataset, _split(entries, for_test), seed, how, cases=len(cases))


def _split(items: Sequence[Item], for_test: Sequence[bool]) -> dict[str, list[Item]]:
    training = [item for item, test in zip(items, for_test, strict=True) if not test]
    return {
        "training": training,
        "validation": training,
        "test": [item for item, test in zip(items, for_test, strict=True) if test],
    }

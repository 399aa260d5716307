"""The datalist: what it holds, how it is written, how it is summed up for the user."""

from __future__ import annotations

import json
import os
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data_prep.cases import Case, count_groups
from data_prep.splits import Split
from pu_unet_monai import __version__
from pu_unet_monai.errors import UserError
from pu_unet_monai.files import write_json

__all__ = ["HOLDOUT", "Dataset", "check_output", "summary", "with_options", "write"]

HOLDOUT = "80/10/10, stratified by class, groups kept together (StratifiedGroupKFold, 10 parts)"


@dataclass(frozen=True)
class Dataset:
    """What a datalist says about its dataset.

    Args:
        name: short name.
        description: one sentence.
        licence: licence as publicly stated.
        command: command that writes the datalist, without paths.
        bundle: bundle to train with; None where none fits.
        unit: what one entry is called, in the plural.
        label_numbering: what the values of the labels mean: ``binary``, ``decathlon`` or ``brats``.
    """

    name: str
    description: str
    licence: str
    command: str
    bundle: str | None
    unit: str = "images"
    label_numbering: str = "binary"


def with_options(dataset: Dataset, options: Sequence[str]) -> Dataset:
    """Return the dataset with options added to its command.

    Args:
        dataset: what the dataset is.
        options: options as on the command line, without paths.
    """
    return replace(dataset, command=shlex.join([*shlex.split(dataset.command), *options]))


def check_output(output: Path) -> None:
    """Raise ``UserError`` if the datalist cannot be written there, before any work is done.

    A file that is not a datalist is never overwritten, since it may belong to the dataset.

    Args:
        output: datalist to write.
    """
    if output.suffix != ".json":
        raise UserError(f"--output {output}: expected the name of a .json file")
    if not output.parent.is_dir():
        raise UserError(f"--output {output}: the folder {output.parent} does not exist; create it first")
    if not os.access(output.parent, os.W_OK):
        raise UserError(f"--output {output}: the folder {output.parent} is not writable; choose another one")
    if output.exists() and not _is_datalist(output):
        raise UserError(f"--output {output}: exists and is not a datalist; choose another name or remove it")


def write(output: Path, root: Path, dataset: Dataset, split: Split, seed: int | None, how: str, **numbers: int) -> None:
    """Write the datalist under a temporary name in the same folder, then rename it.

    Args:
        output: datalist to write.
        root: dataset folder, to which all paths are relative.
        dataset: what the dataset is.
        split: cases of each split.
        seed: seed of the split, kept as provenance; None where nothing was drawn.
        how: how the split was made, in words.
        numbers: further numbers to keep as provenance, such as the number of groups.
    """
    content = {
        "name": dataset.name,
        "description": dataset.description,
        "licence": dataset.licence,
        "label_numbering": dataset.label_numbering,
        "provenance": {
            "command": dataset.command,
            "package_version": __version__,
            "seed": seed,
            "split": how,
            "numbers": {dataset.unit: sum(map(len, split.values())), **numbers},
        },
        **{name: [_entry(case, root) for case in cases] for name, cases in split.items()},
    }
    write_json(output, content)


def summary(outputs: Sequence[Path], root: Path, dataset: Dataset, split: Split, official: bool = False) -> str:
    """Return what the user should know at the end: the sizes of the splits and the next command.

    Args:
        outputs: datalists that were written; the next command uses the first.
        root: dataset folder.
        dataset: what the dataset is.
        split: cases of each split of the first datalist.
        official: whether the split is the publisher's, so that no advice on another one is due.
    """
    lines = [f"{name:<11}{len(cases):>6} {dataset.unit}{_kinds(cases)}" for name, cases in split.items()]
    lines += [
        _groups([case for cases in split.values() for case in cases], dataset.unit),
        "" if official else _imbalance(split, dataset.unit),
    ]
    lines += [f"wrote {output}" for output in outputs]
    results = outputs[0].with_name(f"{outputs[0].stem}_run")  # not in the bundle, whose own weights are there
    places = {"dataset_dir": root, "datalist_file": outputs[0], "output_dir": results, "ckpt_dir": results / "models"}
    options = " ".join(f"--{key} {shlex.quote(str(place))}" for key, place in places.items())
    lines += ["next:", f"  {_training(dataset)} {options}"]
    return "\n".join(line for line in lines if line)


def _imbalance(split: Split, unit: str) -> str:
    """Say so when a group of many cases has made the test or validation part far larger than the other."""
    test, validation = len(split["test"]), len(split["validation"])
    if max(test, validation) <= 2 * min(test, validation) + 1:
        return ""
    return (
        f"notice: some groups are large, so that the parts are uneven; with --folds all {unit} are tested once, "
        "and fewer, smaller groups give an even split"
    )


def _training(dataset: Dataset) -> str:
    if dataset.bundle is None:
        return "train a 3D bundle with"
    bundle = f"bundles/{dataset.bundle}"
    return f"python -m monai.bundle run training --bundle_root {bundle} --config_file {bundle}/configs/train.json"


def _entry(case: Case, root: Path) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "image": _paths((case.image, *case.further_images), root),
        "label": _paths(case.labels, root),
    }
    if case.channel_order is not None:
        entry["channel_order"] = list(case.channel_order)
    if case.kind is not None:
        entry["class"] = case.kind
    if case.group is not None:
        entry["group"] = case.group
    return entry


def _paths(paths: Sequence[Path], root: Path) -> str | list[str]:
    relative = [path.relative_to(root).as_posix() for path in paths]
    return relative if len(relative) > 1 else relative[0]


def _kinds(cases: Sequence[Case]) -> str:
    counts = Counter(case.kind for case in cases if case.kind)
    return "".join(f", {number} {kind}" for kind, number in sorted(counts.items()))


def _groups(cases: Sequence[Case], unit: str) -> str:
    groups, members = count_groups(cases, unit).values()
    return f"{groups} groups of several {unit} hold {members} of them" if groups else ""


def _is_datalist(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"training", "provenance"} <= content.keys()

"""A case: one image and what belongs to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pu_unet_monai.errors import UserError

__all__ = ["Case", "count_groups", "files_with_suffix", "listed", "raise_if_any", "require_folders"]

LISTED = 20


@dataclass(frozen=True)
class Case:
    """One image with its masks.

    Args:
        image: image file.
        labels: mask files, at least one; several are merged when they are loaded.
        kind: class of the image (``benign``), by which splits are stratified; None where a dataset has no classes.
        group: cases of one group stay in one split; None means that the case is alone.
        further_images: files of the other channels, in order, where each channel has a file of its own.
        channel_order: which channel of the file comes first, second and so on; None where they are in order.
    """

    image: Path
    labels: tuple[Path, ...]
    kind: str | None = None
    group: str | None = None
    further_images: tuple[Path, ...] = ()
    channel_order: tuple[int, ...] | None = None


def count_groups(cases: Sequence[Case], unit: str = "images") -> dict[str, int]:
    """Return how many groups hold several images, and how many images these are.

    Args:
        cases: cases, of which those without a group are alone.
        unit: what one case is called, in the plural.
    """
    sizes = Counter(case.group for case in cases if case.group is not None)
    several = [size for size in sizes.values() if size > 1]
    return {f"groups_of_several_{unit}": len(several), f"{unit}_in_these_groups": sum(several)}


def require_folders(*folders: Path) -> None:
    """Raise ``UserError`` naming every folder that does not exist.

    Args:
        folders: folders that the dataset must have.
    """
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    raise_if_any(missing, "folder(s) not found", "Check the path; the dataset must lie there unpacked, as published.")


def files_with_suffix(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return the files of a folder with one of the suffixes, sorted; hidden files are skipped.

    Args:
        folder: folder to list.
        suffixes: lower-case suffixes such as ``.png`` or ``.nii.gz``.
    """
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith(".") and path.name.lower().endswith(tuple(suffixes))
    )


def raise_if_any(problems: Sequence[str], what: str, advice: str) -> None:
    """Raise one ``UserError`` for all problems, listing 20 of them at most.

    Args:
        problems: one line each; nothing happens if there is none.
        what: what they have in common, for the first line.
        advice: what the user can do, for the last line.
    """
    if not problems:
        return
    raise UserError("\n".join([f"{len(problems)} {what}:", *listed(problems), advice]))


def listed(items: Sequence[str]) -> list[str]:
    """Return indented lines that name 20 items at most, and how many more there are.

    Args:
        items: one line each.
    """
    lines = [f"  {item}" for item in items[:LISTED]]
    return lines if len(items) <= LISTED else [*lines, f"  ... and {len(items) - LISTED} more"]

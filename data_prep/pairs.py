"""Checks of image and mask pairs: every file is decoded in full, and all bad files are reported at once."""

from __future__ import annotations

import os
from collections.abc import Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from data_prep.cases import Case, files_with_suffix, raise_if_any
from pu_unet_monai.errors import UserError
from pu_unet_monai.images import IMAGE_SUFFIXES, UNREADABLE, read_mask
from pu_unet_monai.readers.exif_orientation import exif_orientation

__all__ = ["IMAGE_SUFFIXES", "check_pairs", "pair_by_stem", "stem_of"]


def stem_of(path: Path) -> str:
    """Return a file's name without its suffix, which is both parts of ``.nii.gz``.

    Args:
        path: image file.
    """
    return path.name[:-7] if path.name.lower().endswith(".nii.gz") else path.stem


def pair_by_stem(
    images: Path,
    labels: Path,
    image_suffixes: Sequence[str],
    label_suffixes: Sequence[str],
    endings: Sequence[str] = ("",),
) -> tuple[list[Case], list[str]]:
    """Pair the files of two folders by their stems.

    Args:
        images: folder of images.
        labels: folder of masks.
        image_suffixes: suffixes of images, such as ``.jpg``.
        label_suffixes: suffixes of masks.
        endings: what a mask's stem may have after the image's, such as ``_segmentation``.

    Returns:
        The images that have one mask, and what is wrong with the other files, a line each.

    Raises:
        UserError: if there is no image at all.
    """
    found = _by_stem(files_with_suffix(images, image_suffixes))
    if not found:
        raise UserError(f"{images}: no image found, expected files ending in {', '.join(image_suffixes)}")
    masks: dict[str, list[Path]] = {stem: [] for stem in found}
    problems: list[str] = []
    for path in files_with_suffix(labels, label_suffixes):
        owner = _owner(stem_of(path), endings, found)
        if owner is None:
            problems.append(f"{path}: no image for this mask in {images}")
        else:
            masks[owner].append(path)
    for stem, paths in found.items():
        if len(paths) > 1:
            problems.append(f"{paths[0]}: several images named {stem}, {_names(paths)}")
        if not masks[stem]:
            problems.append(f"{paths[0]}: no mask {' or '.join(stem + ending for ending in endings)} in {labels}")
        if len(masks[stem]) > 1:
            problems.append(f"{paths[0]}: several masks, {_names(masks[stem])}")
    cases = [Case(paths[0], tuple(masks[stem])) for stem, paths in found.items()]
    return [case for case in cases if len(case.labels) == 1], problems


def _by_stem(paths: Sequence[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in paths:
        found.setdefault(stem_of(path), []).append(path)
    return found


def _owner(stem: str, endings: Sequence[str], images: Container[str]) -> str | None:
    """Return the stem of the image to which a mask belongs, the longest of several."""
    owners = [stem.removesuffix(ending) for ending in endings if stem.endswith(ending)]
    return max((owner for owner in owners if owner in images), key=len, default=None)


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths)


def check_pairs(cases: Sequence[Case], problems: Sequence[str] = ()) -> None:
    """Decode every image and mask and check that they fit together.

    Args:
        cases: cases to check.
        problems: what was found when the files were paired; it is reported together with what is found here.

    Raises:
        UserError: naming all files that are unreadable, differ in size or orientation, or are no binary mask.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(tqdm(pool.map(_problems_of, cases), total=len(cases), desc="checking", unit="image"))
    problems = [*problems, *(problem for case_problems in found for problem in case_problems)]
    raise_if_any(problems, "bad file(s)", "Add, repair or remove them and run the command again; nothing was written.")


def _problems_of(case: Case) -> list[str]:
    problems: list[str] = []
    form: tuple[tuple[int, int], int] | None = None
    try:
        form = _decode(case.image)
    except UserError as error:
        problems.append(str(error))
    for label in case.labels:
        try:
            _check_mask(label, case.image, form)
        except UserError as error:
            problems.append(str(error))
    return problems


def _check_mask(label: Path, image: Path, image_form: tuple[tuple[int, int], int] | None) -> None:
    size, orientation = _decode(label)
    image_size, image_orientation = image_form or (size, orientation)
    if size != image_size:
        raise UserError(f"{label}: size {_text(size)}, but the image {image.name} has {_text(image_size)}")
    if orientation != image_orientation:
        raise UserError(
            f"{label}: EXIF orientation {orientation}, but the image {image.name} has {image_orientation}; "
            "save both upright, without the tag"
        )
    read_mask(label)


def _decode(path: Path) -> tuple[tuple[int, int], int]:
    """Return size and EXIF orientation (1 means upright) after decoding every pixel."""
    try:
        with Image.open(path) as image:
            image.load()
            return image.size, exif_orientation(image)
    except UNREADABLE as error:
        raise UserError(f"{path}: cannot be read as an image ({error})") from error


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"

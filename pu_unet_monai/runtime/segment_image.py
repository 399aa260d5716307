"""Segmenting ordinary images with a trained bundle, one file a case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import CommonKeys, convert_to_numpy
from PIL import Image

from pu_unet_monai.data.datalist import is_image, list_images
from pu_unet_monai.errors import UserError
from pu_unet_monai.evaluation.pictures import overlay
from pu_unet_monai.files import atomic_path
from pu_unet_monai.images import IMAGE_SUFFIXES, read_rgb
from pu_unet_monai.runtime.bundle import TrainedBundle
from pu_unet_monai.runtime.cases import Cases
from pu_unet_monai.transforms import SaveMask

__all__ = ["find_images", "segment_image"]


def find_images(path: Path) -> Cases[Path]:
    """Find the images of a folder, or the one image that ``path`` is.

    Raises:
        UserError: if there is none.
    """
    if path.is_file():
        if not is_image(path):
            raise UserError(
                f"--input {path}: not an image by its name; expected one that ends in "
                f"{', '.join(IMAGE_SUFFIXES)}, or a folder of them."
            )
        return Cases({path.name: path}, {path.parent}, [], [])
    images = [Path(item["image"]) for item in list_images(path)]
    skipped = sorted({entry.name for entry in path.iterdir()} - {image.name for image in images})
    return Cases({image.name: image for image in images}, {path}, [], skipped)


def segment_image(bundle: TrainedBundle, image: Path, output: Path) -> dict[str, Any]:
    """Segment one image and write ``<stem>.png`` (0 and 255, native size) and ``<stem>_overlay.png``.

    Args:
        bundle: a bundle for images.
        image: the image.
        output: folder to write to.

    Returns:
        What the report says of the case.

    Raises:
        UserError: if the image cannot be read.
    """
    prediction = bundle.predict(str(image))[CommonKeys.PRED]
    SaveMask(output)(prediction)
    mask = convert_to_numpy(prediction).T > 0
    with atomic_path(output / f"{image.stem}_overlay.png") as path:
        Image.fromarray(overlay(np.asarray(read_rgb(image)), mask)).save(path)
    return {
        "case": image.stem,
        "image": image.name,
        "mask": f"{image.stem}.png",
        "overlay": f"{image.stem}_overlay.png",
        "width": mask.shape[1],
        "height": mask.shape[0],
        "foreground_share": round(float(mask.mean()), 6),
    }

"""A trained MONAI bundle, ready to segment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.inferers import Inferer
from monai.utils import CommonKeys, ensure_tuple

from pu_unet_monai.config_keys import check_keys
from pu_unet_monai.errors import UserError, find_user_error, first_cause
from pu_unet_monai.files import file_sha256
from pu_unet_monai.inspection.config_code import refuse_foreign_code
from pu_unet_monai.runtime.kernel_cache import convolutions_for_resizing
from pu_unet_monai.runtime.network_overrides import recorded_network
from pu_unet_monai.runtime.trained_with import read_facts
from pu_unet_monai.runtime.weights import load_weights

__all__ = ["TrainedBundle"]


class TrainedBundle:
    """The network, weights and transforms that a bundle's ``inference.json`` describes.

    The geometry that the weights were trained for is that of ``model.json`` beside them, or ``window`` of the metadata.

    Args:
        folder: the bundle, with ``configs/`` and ``models/``.
        overrides: configuration keys to set, such as ``{"image_size": 128, "device": torch.device("cpu")}``.
        trusted: whether to run its configuration whatever it holds. Defaults to False: one that would run code beyond
            components of MONAI, PyTorch and this package is refused.

    Raises:
        UserError: if the folder is no bundle, would run foreign code, a key is unknown, or the weights are missing or
            do not fit.
    """

    def __init__(
        self, folder: str | os.PathLike[str], overrides: Mapping[str, Any] | None = None, trusted: bool = False
    ) -> None:
        self.folder = Path(folder)
        self.name = self.folder.resolve().name
        try:
            parser = _read_config(self.folder, overrides or {}, trusted)
            self.metadata: dict[str, Any] = parser["_meta_"]
            image = self.metadata["network_data_format"]["inputs"]["image"]
            self.spatial_dims, self.in_channels = len(image["spatial_shape"]), int(image["num_channels"])
            names = image["channel_def"]
            #: what the metadata call the channels of the input, in their order
            self.channel_names: list[str] = [names[index] for index in sorted(names, key=int)]
            self.numbering: str | None = parser.get("numbering")
            self.device = torch.device(parser.get_parsed_content("device"))
            self.weights_file = Path(parser.get_parsed_content("ckpt_dir")) / "model.pt"
            self.network: torch.nn.Module = parser.get_parsed_content("network").eval()
            self.preprocessing: Callable = parser.get_parsed_content("preprocessing")
            self.inferer: Inferer = parser.get_parsed_content("inferer")
            self.postprocessing: Callable = parser.get_parsed_content("postprocessing")
            self.probabilities: Callable | None = parser.get_parsed_content("probabilities", default=None)
        except Exception as error:
            if user_error := find_user_error(error):
                where = "" if str(folder) in str(user_error) else f"--bundle {folder}: "  # a network knows no files
                raise UserError(f"{where}{user_error}") from error
            given = f" with {dict(overrides)}" if overrides else ""
            raise UserError(
                f"--bundle {folder}: cannot be built{given} ({first_cause(error)}); check the values given with --set, "
                "configs/inference.json and configs/metadata.json."
            ) from error
        load_weights(self.network, self.weights_file)

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 of the file of weights."""
        return file_sha256(self.weights_file)

    def predict(self, image: Any, probabilities: bool = False) -> dict[str, MetaTensor]:
        """Segment one image.

        Args:
            image: the image file, or the files of its channels.
            probabilities: whether to return probabilities too, if the bundle offers them. Defaults to False.

        Returns:
            What the bundle's postprocessing leaves: under ``pred`` for images a mask (width, height) of 0 and 1 at
            native size, for volumes a label map (1, x, y, z) on the grid of the file; both know the name of their
            image. Under ``probabilities``, if asked for, (C, x, y, z) on the grid of the file.

        Raises:
            UserError: if the image cannot be read, or does not fit.
        """
        with convolutions_for_resizing(image):
            data = self.preprocessing({CommonKeys.IMAGE: image})
        batch = list_data_collate([data])
        with torch.no_grad():
            batch[CommonKeys.PRED] = self.inferer(batch[CommonKeys.IMAGE].to(self.device), self.network).cpu()
        (item,) = decollate_batch(batch)
        result = self.postprocessing(dict(item))
        if probabilities and self.probabilities is not None:
            result["probabilities"] = self.probabilities(item)[CommonKeys.PRED]
        return result


def _read_config(folder: Path, overrides: Mapping[str, Any], trusted: bool) -> ConfigParser:
    config_file, meta_file = folder / "configs" / "inference.json", folder / "configs" / "metadata.json"
    if not folder.is_dir():
        raise UserError(f"--bundle {folder}: no such folder; check the path.")
    missing = [str(path) for path in (config_file, meta_file) if not path.is_file()]
    if missing:
        raise UserError(f"--bundle {folder}: not a bundle, there is no {' and no '.join(missing)}.")
    if not trusted:
        refuse_foreign_code(folder)
    parser = ConfigParser()
    try:
        parser.read_config(config_file)
        parser.read_meta(meta_file)
    except (ValueError, TypeError) as error:
        raise UserError(f"--bundle {folder}: a configuration cannot be read ({error}).") from error
    check_keys(overrides, parser.get(), str(config_file))
    parser.update({"bundle_root": str(folder), **overrides})
    _check_image_size(parser)
    metadata = parser["_meta_"]
    weights = Path(parser.get_parsed_content("ckpt_dir")) / "model.pt"
    facts = read_facts(weights)
    if "network" in facts and "network_def" not in overrides:
        parser.update(recorded_network(facts["network"], weights, parser.get()))
    if "window" in metadata:  # the geometry that the weights were trained for is a fact about them
        metadata["window"] = facts.get("window", metadata["window"])
        parser.update({"window": overrides.get("window", metadata["window"])})
    return parser


def _check_image_size(parser: ConfigParser) -> None:
    """Refuse what MONAI's resizing would take for "as the image is", or fail over at each image."""
    size = parser.get_parsed_content("image_size", default=1)
    if not all(type(side) is int and side >= 1 for side in ensure_tuple(size)):
        raise UserError(f"image_size {size!r}: expected a whole number of pixels, 1 or more, such as 352.")

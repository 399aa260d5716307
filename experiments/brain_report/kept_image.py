"""Several training steps on every image that is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from monai.data import DataLoader, Dataset
from monai.utils import CommonKeys

from pu_unet_monai.errors import UserError

__all__ = ["KeptImageLoader"]


class KeptImageLoader(DataLoader):
    """MONAI's ``DataLoader`` for a dataset whose items are lists of samples of one image, a few of them a batch.

    A volume is loaded and augmented once for several steps of the training (brain report, section 2.2.3: 1 image = 4
    batches of 2 minicubes). Each sample is used once, in the order of the list.

    Args:
        dataset: a dataset whose transform gives ``batch_size * steps_per_image`` samples an item, as
            ``SplitDimd(list_output=True)`` or ``RandSpatialCropSamplesd`` do.
        batch_size: samples a batch.
        steps_per_image: batches an image.
        kwargs: other arguments of ``DataLoader``, such as ``sampler``.
    """

    def __init__(self, dataset: Dataset, batch_size: int, steps_per_image: int, **kwargs: Any) -> None:
        self.samples_per_step = batch_size
        self.steps_per_image = steps_per_image
        super().__init__(dataset, batch_size=1, **kwargs)

    def __len__(self) -> int:
        """Return the number of steps an epoch."""
        return self.steps_per_image * super().__len__()

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:  # type: ignore[override]
        """Yield batches (batch_size, C, *spatial) by key.

        Raises:
            UserError: if an image does not give as many samples as the steps need.
        """
        for image in super().__iter__():
            found, expected = len(image[CommonKeys.IMAGE]), self.samples_per_step * self.steps_per_image
            if found != expected:
                raise UserError(
                    f"batch_size {self.samples_per_step} and steps_per_image {self.steps_per_image}: an image gives "
                    f"{found} samples, expected {expected}; set the two so that their product is {found}."
                )
            for first in range(0, found, self.samples_per_step):
                yield {key: samples[first : first + self.samples_per_step] for key, samples in image.items()}

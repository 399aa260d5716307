"""Label maps of brain tumours as the regions that a network predicts, and back."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import ImageMetaKey, TransformBackends, convert_to_dst_type, convert_to_tensor

from pu_unet_monai.data.label_numbering import NUMBERINGS, REGIONS, REGIONS_OF, check_numbering
from pu_unet_monai.errors import UserError, join_some

__all__ = ["LabelToRegions", "LabelToRegionsd", "RegionsToLabel", "RegionsToLabeld"]

# a region is painted over the one that it lies in
_PAINTING = (("WT", "edema"), ("TC", "non-enhancing core"), ("ET", "enhancing tumour"))


class LabelToRegions(Transform):
    """Turn a label map into the regions tumour core, whole tumour and enhancing tumour, which overlap.

    MONAI's ``ConvertToMultiChannelBasedOnBratsClasses`` knows the numbering of BraTS alone: on Decathlon labels it
    swaps edema and core.

    Args:
        numbering: ``"brats"`` (1 non-enhancing core, 2 edema, 3 or 4 enhancing tumour) or ``"decathlon"``
            (1 edema, 2 non-enhancing core, 3 enhancing tumour).

    Raises:
        UserError: if the numbering is not known.
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]  # noqa: RUF012, as in MONAI

    def __init__(self, numbering: str) -> None:
        check_numbering(numbering)
        self.numbering = numbering

    def __call__(self, label: NdarrayOrTensor) -> NdarrayOrTensor:
        """Return the regions TC, WT and ET of a label map.

        Args:
            label: (1, *spatial) or (*spatial); a first axis of length 1 is the channel.

        Returns:
            uint8 of 0 and 1, (3, *spatial), an array or tensor as ``label`` is, with its metadata.

        Raises:
            UserError: if the label map holds a value outside the numbering.
        """
        values = convert_to_tensor(label)
        if values.shape[0] == 1:
            values = values[0]
        values = values.contiguous()  # files lie in memory with x first: mixing two orders takes six times as long
        regions = torch.zeros((len(REGIONS), *values.shape), dtype=torch.bool, device=values.device)
        known = torch.count_nonzero(values == 0)
        for structure, numbers in NUMBERINGS[self.numbering].items():
            for number in numbers:
                mask = values == number
                known += torch.count_nonzero(mask)
                for region in REGIONS_OF[structure]:
                    regions[REGIONS.index(region)] |= mask
        if known != values.numel():
            raise UserError(self._unexpected(label, values))
        return convert_to_dst_type(regions.view(torch.uint8), label, dtype=torch.uint8)[0]

    def _unexpected(self, label: NdarrayOrTensor, values: torch.Tensor) -> str:
        meta = label.meta if isinstance(label, MetaTensor) else {}
        file = meta.get(ImageMetaKey.FILENAME_OR_OBJ, "label map")
        found = join_some([f"{value:g}" for value in values.unique().tolist()])
        numbers = sorted({0}.union(*NUMBERINGS[self.numbering].values()))
        return (
            f"{file}: holds the values {found}, expected {', '.join(map(str, numbers))} "
            f"(label_numbering {self.numbering!r}); set label_numbering to the dataset's, or mend the file."
        )


class RegionsToLabel(Transform):
    """Turn binary regions into a label map: whole tumour as edema, on it the core, on that the enhancing tumour.

    With ``"brats"`` the values are the class indices of ``CLASS_NAMES``, as a confusion matrix wants them.

    Args:
        numbering: ``"brats"`` (1 non-enhancing core, 2 edema, 3 enhancing tumour, as since BraTS 2023) or
            ``"decathlon"`` (1 edema, 2 non-enhancing core, 3 enhancing tumour). Defaults to ``"brats"``.

    Raises:
        UserError: if the numbering is not known.
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]  # noqa: RUF012, as in MONAI

    def __init__(self, numbering: str = "brats") -> None:
        check_numbering(numbering)
        self.numbering = numbering

    def __call__(self, regions: NdarrayOrTensor) -> NdarrayOrTensor:
        """Return the label map of regions.

        Args:
            regions: TC, WT and ET, 0 or not 0, (3, *spatial).

        Returns:
            uint8, (1, *spatial), an array or tensor as ``regions`` is, with its metadata.
        """
        masks = convert_to_tensor(regions)
        if masks.shape[0] != len(REGIONS):
            raise ValueError(f"expected the channels {', '.join(REGIONS)}, got shape {tuple(masks.shape)}.")
        label = torch.zeros((1, *masks.shape[1:]), dtype=torch.uint8, device=masks.device)
        for region, structure in _PAINTING:
            label[0].masked_fill_(masks[REGIONS.index(region)] != 0, NUMBERINGS[self.numbering][structure][0])
        return convert_to_dst_type(label, regions, dtype=torch.uint8)[0]


class LabelToRegionsd(MapTransform):
    """Dictionary form of :class:`LabelToRegions`.

    Args:
        keys: keys of the label maps.
        numbering: see :class:`LabelToRegions`; None reads it from each item. Defaults to None.
        numbering_key: where an item says its numbering. Defaults to ``"numbering"``, as ``load_datalist`` gives it (a
            key that began with ``label_`` would break MONAI's ``Spacingd``).
        default: numbering of items that do not say theirs, such as the labels that MONAI Label keeps: annotators
            correct what the network wrote, in ``"brats"``. Defaults to None: such items are refused.
        allow_missing_keys: whether items may lack a key. Defaults to False.

    Raises:
        UserError: if the numbering is not known.
    """

    backend = LabelToRegions.backend

    def __init__(
        self,
        keys: KeysCollection,
        numbering: str | None = None,
        numbering_key: str = "numbering",
        default: str | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        for name in filter(None, (numbering, default)):
            check_numbering(name)
        self.default = default
        self.numbering = numbering
        self.numbering_key = numbering_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Convert the label maps of all keys.

        Raises:
            UserError: if the item does not say its numbering, or a label map holds a value outside it.
        """
        d = dict(data)
        numbering = self.numbering or d.get(self.numbering_key) or self.default
        if numbering is None:
            raise UserError(
                f"{self.numbering_key}: missing, expected {' or '.join(map(repr, NUMBERINGS))}; "
                "write the datalist with python -m data_prep.brats."
            )
        to_regions = LabelToRegions(numbering)
        for key in self.key_iterator(d):
            d[key] = to_regions(d[key])
        return d


class RegionsToLabeld(MapTransform):
    """Dictionary form of :class:`RegionsToLabel`."""

    backend = RegionsToLabel.backend

    def __init__(self, keys: KeysCollection, numbering: str = "brats", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self._to_label = RegionsToLabel(numbering)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Convert the regions of all keys."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self._to_label(d[key])
        return d

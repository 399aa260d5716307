"""Weights that make a network separate neighbouring objects."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_numpy
from numpy.typing import NDArray
from scipy import ndimage

from pu_unet_monai.errors import UserError

__all__ = ["BoundaryWeightMap", "BoundaryWeightMapd"]

_NEGLIGIBLE = 1e-7  # of the border term, beside class weights of about 1 in float32


class BoundaryWeightMap(Transform):
    """The weight map of the original U-Net (Ronneberger et al. 2015, equation 2).

    ``w(x) = w_c(x) + w0 * exp(-(d1(x) + d2(x))^2 / (2 sigma^2))`` with the distances d1 and d2, in pixels, from the
    centre of x to that of the nearest pixel of the nearest and of the second nearest object. Our reading: the second
    term is for background alone, since the paper speaks of the *background labels* between touching cells; and objects
    that touch without background between them have no border to weigh (the paper inserts one). Where there are fewer
    than two objects, w = w_c. The term is cut off where it is under 1e-7.

    The paper gives no formula for the balance of the classes w_c. Here it is ``N / (2 N_c)``, with N pixels of which
    N_c are of the class of x (object or background), so that both classes weigh alike and the mean is 1; 1 where
    there is only one class. ``class_weights`` sets fixed weights instead, such as the balance over a training set.

    Args:
        w0: height of the border term. Defaults to 10.
        sigma: its width in pixels. Defaults to 5.
        class_weights: w_c of background and of objects. Defaults to None: balanced for each image.

    Raises:
        UserError: if ``w0`` or a class weight is negative, ``sigma`` not positive, or class weights are not two.
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012, as in MONAI

    def __init__(self, w0: float = 10.0, sigma: float = 5.0, class_weights: Sequence[float] | None = None) -> None:
        if not (w0 >= 0 and sigma > 0):
            raise UserError(f"w0: {w0} and sigma: {sigma}, expected 0 or more and more than 0; mend the options.")
        if class_weights is not None and not (len(class_weights) == 2 and min(class_weights) >= 0):
            raise UserError(
                f"class_weights: {list(class_weights)}, expected two numbers from 0 up: of background and of objects."
            )
        self.w0 = w0
        self.sigma = sigma
        self.class_weights = class_weights

    def __call__(self, label: NdarrayOrTensor) -> NdarrayOrTensor:
        """Return the weights of a label.

        Args:
            label: (1, *spatial), 2D or 3D, 0 for background; objects are the values of an instance map, or the
                face-connected parts where there is only one value beside 0.

        Returns:
            float32, of the label's shape, an array or tensor as ``label`` is, with its metadata.

        Raises:
            UserError: if there is more than one channel.
        """
        values = convert_to_numpy(label)
        if values.shape[0] != 1:
            raise UserError(f"label: {values.shape[0]} channels, expected one, an instance map or a binary mask.")
        instances = _instances(values[0])
        weights = self._balance(instances) + self._border(instances)
        return convert_to_dst_type(weights[None], label, dtype=torch.float32)[0]

    def _balance(self, instances: NDArray[np.int32]) -> NDArray[np.float64]:
        objects = instances > 0
        weights: Sequence[float] = self.class_weights or (1.0, 1.0)
        if self.class_weights is None and 0 < objects.sum() < objects.size:
            weights = (objects.size / (2 * (~objects).sum()), objects.size / (2 * objects.sum()))
        return np.where(objects, weights[1], weights[0])

    def _border(self, instances: NDArray[np.int32]) -> NDArray[np.float64]:
        reach = math.ceil(self.sigma * math.sqrt(2 * math.log(max(self.w0 / _NEGLIGIBLE, 1))))
        nearest, second = np.full(instances.shape, np.inf), np.full(instances.shape, np.inf)
        for number, box in enumerate(ndimage.find_objects(instances), start=1):
            window = tuple(slice(max(side.start - reach, 0), side.stop + reach) for side in box)
            distance = ndimage.distance_transform_edt(instances[window] != number)
            np.minimum(second[window], np.maximum(nearest[window], distance), out=second[window])
            np.minimum(nearest[window], distance, out=nearest[window])
        term = self.w0 * np.exp(-((nearest + second) ** 2) / (2 * self.sigma**2))
        return np.where(instances > 0, 0.0, term)


def _instances(label: NDArray[Any]) -> NDArray[np.int32]:
    """Return the objects numbered from 1 without gaps."""
    values, numbers = np.unique(np.append(label, 0), return_inverse=True)  # with a 0, also where none is
    if len(values) > 2:
        background = int(np.searchsorted(values, 0))
        numbers = numbers[:-1].reshape(label.shape)
        return np.where(numbers == background, 0, numbers + (numbers < background)).astype(np.int32)
    found: NDArray[np.int32] = ndimage.label(label)[0]
    return found


class BoundaryWeightMapd(MapTransform):
    """Dictionary form of :class:`BoundaryWeightMap`: the weights of the label under a key of their own.

    List it before the first random transform, so that a caching dataset computes it once.

    Args:
        keys: key of the label.
        weight_key: key of the weights. Defaults to ``"weight"``.
        w0: see :class:`BoundaryWeightMap`. Defaults to 10.
        sigma: see :class:`BoundaryWeightMap`. Defaults to 5.
        class_weights: see :class:`BoundaryWeightMap`. Defaults to None.
        allow_missing_keys: whether items may lack the label. Defaults to False.
    """

    backend = BoundaryWeightMap.backend

    def __init__(
        self,
        keys: KeysCollection,
        weight_key: str = "weight",
        w0: float = 10.0,
        sigma: float = 5.0,
        class_weights: Sequence[float] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if len(self.keys) != 1:
            raise UserError(f"keys: {list(self.keys)}, expected one label for the one weight_key {weight_key!r}.")
        self.weight_key = weight_key
        self.weigh = BoundaryWeightMap(w0, sigma, class_weights)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the weights of the label."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[self.weight_key] = self.weigh(d[key])
        return d

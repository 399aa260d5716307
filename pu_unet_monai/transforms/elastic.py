"""Smooth random deformation from a coarse grid of displacements."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, SequenceStr
from monai.transforms import MapTransform, RandomizableTransform, Resample
from monai.transforms.utils import create_grid
from monai.utils import GridSampleMode, GridSamplePadMode, ensure_tuple_rep
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from pu_unet_monai.errors import UserError

__all__ = ["RandCoarseElastic", "RandCoarseElasticd"]


class RandCoarseElastic(RandomizableTransform):
    """Elastic deformation of the original U-Net, from few displacements (Ronneberger et al. 2015, section 3.1).

    At the knots of a coarse grid over the image, 3 x 3 in the paper, displacements are drawn from a normal distribution
    with a standard deviation of 10 pixels; cubic splines through the knots, along one axis after the other, give those
    of all pixels. That the outer knots lie on the first and last pixel is our reading of the grid, and that the splines
    end without curvature our choice. The output at x is the input at x + displacement.

    MONAI's ``Rand2DElastic`` sets its knots by a distance in pixels and draws magnitudes from a uniform distribution;
    its ``Rand3DElastic`` smooths noise drawn for every voxel.

    Args:
        sigma: standard deviation of the displacements in pixels, for all axes or one for each. Defaults to 10.
        knots: number of knots, at least 2, for all axes or one for each. Defaults to 3.
        prob: probability of a deformation. Defaults to 0.1, as in MONAI.
        mode: interpolation of the image, see MONAI's ``Resample``. Defaults to ``"bilinear"``.
        padding_mode: what lies outside of the image, see MONAI's ``Resample``. Defaults to ``"reflection"``.

    Raises:
        UserError: if ``sigma`` is negative or ``knots`` under 2.
    """

    backend = Resample.backend

    def __init__(
        self,
        sigma: Sequence[float] | float = 10.0,
        knots: Sequence[int] | int = 3,
        prob: float = 0.1,
        mode: str = GridSampleMode.BILINEAR,
        padding_mode: str = GridSamplePadMode.REFLECTION,
    ) -> None:
        super().__init__(prob)
        if not (np.all(np.asarray(sigma) >= 0) and np.all(np.asarray(knots) >= 2)):
            raise UserError(f"sigma: {sigma} and knots: {knots}, expected 0 or more and 2 or more; mend the options.")
        self.sigma = sigma
        self.knots = knots
        self.resample = Resample(mode=mode, padding_mode=padding_mode)
        self.displacements: NDArray[np.float64] | None = None

    def randomize(self, data: Any) -> None:
        """Draw whether there is a deformation, and the displacements.

        Args:
            data: number of spatial axes.
        """
        super().randomize(None)
        if self._do_transform:
            knots = ensure_tuple_rep(self.knots, data)
            sigma = np.reshape(ensure_tuple_rep(self.sigma, data), (data, *[1] * data))
            self.displacements = self.R.normal(size=(data, *knots)) * sigma

    def displacement(self, spatial_size: Sequence[int]) -> torch.Tensor:
        """Return the displacement of every pixel, (axes, *spatial) in pixels, of what was drawn last."""
        if self.displacements is None:
            raise RuntimeError("no displacements yet; call randomize first.")
        field = self.displacements
        for axis, size in enumerate(spatial_size, start=1):
            field = np.moveaxis(np.tensordot(_splines(field.shape[axis], size), field, axes=(1, axis)), 0, axis)
        return torch.from_numpy(np.ascontiguousarray(field))

    def grid(self, spatial_size: Sequence[int]) -> torch.Tensor:
        """Return where MONAI's ``Resample`` takes every pixel from: (axes + 1, *spatial), pixels from the centre."""
        grid = torch.as_tensor(create_grid(spatial_size, dtype=np.float64, backend="torch"))
        grid[: len(spatial_size)] += self.displacement(spatial_size)
        return grid

    def __call__(self, img: torch.Tensor, randomize: bool = True) -> torch.Tensor:
        """Deform an image.

        Args:
            img: (C, *spatial), 2D or 3D.
            randomize: whether to draw anew. Defaults to True.

        Returns:
            float32, of the same shape, with the image's metadata; the image itself if no deformation was drawn.
        """
        if randomize:
            self.randomize(img.ndim - 1)
        return self.resample(img, self.grid(img.shape[1:])) if self._do_transform else img


def _splines(knots: int, size: int) -> NDArray[np.float64]:
    """Return the cubic splines that are 1 at one knot and 0 at the others: (size, knots)."""
    positions = np.linspace(0, max(size - 1, 1), knots)
    values: NDArray[np.float64] = CubicSpline(positions, np.eye(knots), bc_type="natural")(np.arange(size))
    return values


class RandCoarseElasticd(RandomizableTransform, MapTransform):
    """Dictionary form of :class:`RandCoarseElastic`: one deformation for all keys.

    Args:
        keys: keys of the images and labels, of one spatial size.
        sigma: see :class:`RandCoarseElastic`. Defaults to 10.
        knots: see :class:`RandCoarseElastic`. Defaults to 3.
        prob: probability of a deformation. Defaults to 0.1.
        mode: interpolation, for all keys or one for each, such as ``["bilinear", "nearest"]``. Defaults to
            ``"bilinear"``.
        padding_mode: what lies outside, for all keys or one for each. Defaults to ``"reflection"``.
        allow_missing_keys: whether items may lack a key. Defaults to False.

    Raises:
        UserError: if the images of an item differ in size.
    """

    backend = RandCoarseElastic.backend

    def __init__(
        self,
        keys: KeysCollection,
        sigma: Sequence[float] | float = 10.0,
        knots: Sequence[int] | int = 3,
        prob: float = 0.1,
        mode: SequenceStr = GridSampleMode.BILINEAR,
        padding_mode: SequenceStr = GridSamplePadMode.REFLECTION,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.elastic = RandCoarseElastic(sigma, knots, prob=1.0)  # the probability is this class's
        self.mode = ensure_tuple_rep(mode, len(self.keys))
        self.padding_mode = ensure_tuple_rep(padding_mode, len(self.keys))

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandCoarseElasticd:
        """Seed the draws."""
        self.elastic.set_random_state(seed, state)
        super().set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Deform the images and labels of all keys alike."""
        d = dict(data)
        self.randomize(None)
        sizes = {key: tuple(d[key].shape[1:]) for key in self.key_iterator(d)}
        if not self._do_transform or not sizes:
            return d
        if len(set(sizes.values())) > 1:
            raise UserError(f"images to deform together differ in size: {sizes}; resample them to one size first.")
        size = next(iter(sizes.values()))
        self.elastic.randomize(len(size))
        grid = self.elastic.grid(size)
        for key, mode, padding_mode in self.key_iterator(d, self.mode, self.padding_mode):
            d[key] = self.elastic.resample(d[key], grid, mode=mode, padding_mode=padding_mode)
        return d

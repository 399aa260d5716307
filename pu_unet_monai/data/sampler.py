"""Order of the items as a function of seed and epoch, and their shares among processes."""

from __future__ import annotations

import monai.data
import torch
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler

from pu_unet_monai.data.dataset import ReproducibleDataset
from pu_unet_monai.errors import UserError

__all__ = ["EachOnceSampler", "EpochSampler"]


class EpochSampler(DistributedSampler):
    """PyTorch's ``DistributedSampler``, for one process too, that also tells the dataset the epoch.

    The order is drawn from ``(seed, epoch)``; MONAI's engines call ``set_epoch`` on such a sampler when an epoch
    starts. An interrupted training therefore goes on in the order in which it would have gone on.

    Args:
        dataset: the dataset to sample.
        shuffle: whether to shuffle. Defaults to True.
        seed: seed of the order. Defaults to 0.
        num_replicas: number of processes. Defaults to 1.
        rank: number of this process. Defaults to 0.
    """

    dataset: ReproducibleDataset

    def __init__(
        self, dataset: ReproducibleDataset, shuffle: bool = True, seed: int = 0, num_replicas: int = 1, rank: int = 0
    ) -> None:
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, shuffle=shuffle, seed=seed)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order, and whose augmentation, comes next."""
        super().set_epoch(epoch)
        self.dataset.set_epoch(epoch)


class EachOnceSampler(monai.data.DistributedSampler):
    """MONAI's ``DistributedSampler`` for scores: each item once over all processes, and at least one for each.

    Args:
        dataset: the dataset to sample.
        num_replicas: number of processes. Defaults to those of the process group.
        rank: number of this process. Defaults to that in the process group.

    Raises:
        UserError: if there are fewer items than processes; an engine without items cannot run.
    """

    def __init__(self, dataset: Dataset, num_replicas: int | None = None, rank: int | None = None) -> None:
        processes = torch.distributed.get_world_size() if num_replicas is None else num_replicas
        cases = len(dataset)  # type: ignore[arg-type]
        if cases < processes:
            raise UserError(
                f"the part of the data to score has {cases} case{'s'[: cases != 1]}, but {processes} processes need "
                f"{processes}: start fewer processes, or move cases into the validation or test part of the datalist."
            )
        super().__init__(dataset, even_divisible=False, num_replicas=num_replicas, rank=rank, shuffle=False)

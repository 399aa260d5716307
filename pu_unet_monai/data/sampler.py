"""Order of the items as a function of seed and epoch."""

from __future__ import annotations

from torch.utils.data.distributed import DistributedSampler

from pu_unet_monai.data.dataset import ReproducibleDataset

__all__ = ["EpochSampler"]


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

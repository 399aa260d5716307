"""What every variant costs, measured before anything is trained."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader
from monai.utils import CommonKeys, set_determinism
from tqdm import tqdm

from pu_unet_monai.comparison.protocol import Protocol
from pu_unet_monai.comparison.variants import Variant
from pu_unet_monai.errors import UserError, find_user_error, first_cause
from pu_unet_monai.evaluation.complexity import count_macs, count_parameters, count_training_bytes, time_alternately
from pu_unet_monai.files import read_json, write_json

__all__ = ["load_or_measure_costs"]

_ROUNDS = 7
_WITHOUT_CACHE = {"cache_rate": 0.0, "num_workers": 0}


def load_or_measure_costs(variants: Sequence[Variant], protocol: Protocol) -> dict[str, dict[str, Any]]:
    """Build every variant as its training would, try it, and measure a training step of each, in turn.

    Costs are written to ``costs.json``, and measured again where that is of other variants or settings: times of
    different moments do not compare.

    Args:
        variants: the variants.
        protocol: what they share.

    Returns:
        By variant: ``parameters``, ``steps`` of its training, ``input_size`` of a step, ``macs`` of one item,
        ``step_bytes`` (None where fake tensors cannot go through the network), ``step_seconds`` (the median)
        and ``step_seconds_range``.

    Raises:
        UserError: naming all variants that cannot be built or trained.
    """
    path = protocol.output / "costs.json"
    of = json.loads(json.dumps({variant.name: [protocol.identity(variant), variant.overrides] for variant in variants}))
    earlier = read_json(path) if path.is_file() else {}
    if earlier.get("of") == of:
        return earlier["costs"]
    costs = _measure(variants, protocol)
    write_json(path, {"of": of, "costs": costs})
    return costs


def _measure(variants: Sequence[Variant], protocol: Protocol) -> dict[str, dict[str, Any]]:
    steps: dict[str, _TrainingStep] = {}
    costs: dict[str, dict[str, Any]] = {}
    problems = []
    for variant in tqdm(variants, desc="building", unit="variant", disable=None):
        try:
            step = _TrainingStep(variant, protocol)
            costs[variant.name] = step.count()
            step()
            step.try_what_comes_later()
            steps[variant.name] = step
        except Exception as error:
            problems.append(f"{variant.name}: {str(find_user_error(error) or first_cause(error)).splitlines()[0]}")
    if problems:
        raise UserError("; ".join(problem.rstrip(".") for problem in problems) + ".")
    for name, seconds in time_alternately(steps, _ROUNDS).items():
        costs[name]["step_seconds"] = statistics.median(seconds)
        costs[name]["step_seconds_range"] = [min(seconds), max(seconds)]
    return costs


class _TrainingStep:
    """A variant as the bundle's configuration makes it: its training step on its first batch, and what comes later."""

    def __init__(self, variant: Variant, protocol: Protocol) -> None:
        parser = ConfigParser()
        parser.read_config(protocol.training_files(variant))
        places = {"dataset_dir": str(protocol.dataset_dir), "datalist_file": str(protocol.datalist_file)}
        parser.update({**places, **protocol.settings, **variant.overrides, **_known(_WITHOUT_CACHE, parser)})
        set_determinism(seed=0)
        self.device = torch.device(parser.get_parsed_content("device"))
        self.amp = bool(parser.get_parsed_content("amp"))
        self.max_epochs = int(parser.get_parsed_content("max_epochs"))
        self.loader = parser.get_parsed_content("train#dataloader")
        self.image, self.label = self._batch(self.loader)
        self.validation = parser.get_parsed_content("validate#dataloader")
        self.validation_inferer = parser.get_parsed_content("validate#inferer")
        self.network = parser.get_parsed_content("network").train()
        self.inferer = parser.get_parsed_content("train#inferer")
        self.loss = parser.get_parsed_content("train#trainer#loss_function")
        self.optimizer = parser.get_parsed_content("optimizer")

    def __call__(self) -> None:
        """Take a step."""
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", enabled=self.amp and self.device.type == "cuda"):
            loss = self.loss(self.inferer(self.image, self.network), self.label)
        loss.backward()
        self.optimizer.step()

    @torch.no_grad()
    def try_what_comes_later(self) -> None:
        """Run the last epoch's images, if they have another size, and a case of the validation through the network."""
        self.loader.sampler.set_epoch(self.max_epochs)
        image, _ = self._batch(self.loader)
        self.loader.sampler.set_epoch(1)
        if image.shape != self.image.shape:
            self.inferer(image, self.network)
        self.network.eval()
        self.validation_inferer(self._batch(self.validation)[0], self.network)
        self.network.train()

    def _batch(self, loader: DataLoader) -> tuple[torch.Tensor, torch.Tensor]:
        batch = next(iter(loader))
        return batch[CommonKeys.IMAGE].to(self.device), batch[CommonKeys.LABEL].to(self.device)

    def count(self) -> dict[str, Any]:
        """Count what needs no clock."""
        size = tuple(self.image.shape)
        return {
            "parameters": count_parameters(self.network),
            "steps": len(self.loader) * self.max_epochs,
            "input_size": size,
            "macs": count_macs(self.network, (1, *size[1:])),
            "step_bytes": self._count_bytes(size),
        }

    def _count_bytes(self, size: Sequence[int]) -> int | None:
        try:
            return count_training_bytes(self.network, size, self.device, self.amp)
        except Exception:  # such a network trains all the same
            return None


def _known(overrides: Mapping[str, Any], parser: ConfigParser) -> dict[str, Any]:
    return {key: value for key, value in overrides.items() if key in parser}

"""What every variant costs, measured before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.utils import CommonKeys, set_determinism
from tqdm import tqdm

from pu_unet_monai.comparison.protocol import Protocol
from pu_unet_monai.comparison.variants import Variant
from pu_unet_monai.errors import UserError, find_user_error, first_cause
from pu_unet_monai.evaluation.complexity import count_macs, count_parameters, count_training_bytes, time_alternately
from pu_unet_monai.files import atomic_path

__all__ = ["load_or_measure_costs"]

_ROUNDS = 7
_WITHOUT_CACHE = {"cache_rate": 0.0, "num_workers": 0, "train#dataset#num_workers": 0}


def load_or_measure_costs(variants: Sequence[Variant], protocol: Protocol) -> dict[str, dict[str, Any]]:
    """Build every variant as its training would, and measure a training step of each, in turn.

    They are written to ``costs.json``, and measured again where that is of other variants or settings: times of
    different moments do not compare.

    Args:
        variants: the variants.
        protocol: what they share.

    Returns:
        By variant: ``parameters``, ``steps`` of its training, ``input_size`` of a step, ``macs`` of one item,
        ``step_bytes`` (None where fake tensors cannot go through the network) and ``step_seconds``.

    Raises:
        UserError: naming all variants that cannot be built or trained.
    """
    path = protocol.output / "costs.json"
    of = json.loads(
        json.dumps([protocol.identity(), {variant.name: [variant.overrides, variant.preset] for variant in variants}])
    )
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if earlier.get("of") == of:
        return earlier["costs"]
    costs = _measure(variants, protocol)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps({"of": of, "costs": costs}, indent=2) + "\n", encoding="utf-8")
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
            steps[variant.name] = step
        except Exception as error:
            problems.append(f"{variant.name}: {str(find_user_error(error) or first_cause(error)).splitlines()[0]}")
    if problems:
        raise UserError("; ".join(problem.rstrip(".") for problem in problems) + ".")
    for name, seconds in time_alternately(steps, _ROUNDS).items():
        costs[name]["step_seconds"] = seconds
    return costs


class _TrainingStep:
    """The training step of a variant on its first batch: what the bundle's configuration makes of it."""

    def __init__(self, variant: Variant, protocol: Protocol) -> None:
        parser = ConfigParser()
        parser.read_config(protocol.training_files(variant))
        places = {"dataset_dir": str(protocol.dataset_dir), "datalist_file": str(protocol.datalist_file)}
        parser.update({**places, **protocol.settings, **variant.overrides, **_known(_WITHOUT_CACHE, parser)})
        set_determinism(seed=0)
        self.device = torch.device(parser.get_parsed_content("device"))
        self.amp = bool(parser.get_parsed_content("amp"))
        loader = parser.get_parsed_content("train#dataloader")
        self.steps = len(loader) * int(parser.get_parsed_content("max_epochs"))
        batch = next(iter(loader))
        self.image, self.label = (batch[key].to(self.device) for key in (CommonKeys.IMAGE, CommonKeys.LABEL))
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

    def count(self) -> dict[str, Any]:
        """Count what needs no clock."""
        size = tuple(self.image.shape)
        return {
            "parameters": count_parameters(self.network),
            "steps": self.steps,
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

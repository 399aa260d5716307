"""Which components a segmentation needs: what ``_target_`` may name, and with which options.

What is known is listed; all else is not, whatever it does.
"""

from __future__ import annotations

import functools
import importlib
import re
import types
from collections.abc import Mapping
from typing import Any

from monai.bundle.config_item import ComponentLocator

__all__ = ["concern_about_argument", "concern_about_target", "is_known_target"]

_NETWORKS = (
    *("AttentionUnet", "BasicUNet", "BasicUNetPlusPlus", "DiNTS", "DynUNet", "HighResNet", "MedNeXt", "SegResNet"),
    *("SegResNetDS", "SegResNetDS2", "SegResNetVAE", "SwinUNETR", "TopologyInstance", "UNETR", "UNet", "VISTA3D"),
    *("VNet",),
)
_INFERERS = ("SaliencyInferer", "SimpleInferer", "SliceInferer", "SlidingWindowInferer", "SlidingWindowInfererAdapt")
_ENGINES = ("EnsembleEvaluator", "SupervisedEvaluator", "SupervisedTrainer")
_DATA = ("CacheDataset", "DataLoader", "Dataset", "DistributedSampler", "SmartCacheDataset", "ThreadDataLoader")
_HANDLERS = (
    *("CheckpointLoader", "CheckpointSaver", "ConfusionMatrix", "EarlyStopHandler", "HausdorffDistance"),
    *("LrScheduleHandler", "MeanDice", "MeanIoUHandler", "MetricsSaver", "PostProcessing", "ROCAUC", "StatsHandler"),
    *("SurfaceDistance", "TensorBoardImageHandler", "TensorBoardStatsHandler", "ValidationHandler", "from_engine"),
)
_TARGETS: tuple[str, ...] = (
    *("ignite.handlers.EarlyStopping", "ignite.handlers.ProgressBar", "ignite.handlers.TerminateOnNan"),
    *("ignite.handlers.Timer", "logging.StreamHandler", "torch.nn.parallel.DistributedDataParallel"),
    *(f"monai.data.{name}" for name in _DATA),
    *(f"monai.engines.{name}" for name in _ENGINES),
    *(f"monai.handlers.{name}" for name in _HANDLERS),
    *(f"monai.inferers.{name}" for name in _INFERERS),
    *(f"monai.networks.nets.{name}" for name in _NETWORKS),
)
"""What may be a target, by the names that their packages give them."""

_CLASSES_OF = (
    *("ignite.metrics", "monai.losses", "monai.metrics", "monai.optimizers.lr_scheduler", "monai.optimizers.novograd"),
    *(f"monai.transforms.{name}" for name in ("compose", "croppad", "intensity", "inverse_batch_transform", "lazy")),
    *(f"monai.transforms.{name}" for name in ("meta_utility", "post", "regularization", "signal", "smooth_field")),
    *("monai.transforms.spatial", "monai.transforms.utility", "torch.nn.modules", "torch.optim"),
)
"""Modules that only compute: all classes that are defined there may be targets."""

_NO_TARGETS = ("ignite.metrics.gan", "ignite.metrics.gpu_info", "monai.losses.perceptual", "monai.metrics.wrapper")
"""Of these again what fetches weights, or takes parts of other packages by their names."""

_OTHER_TRANSFORMS = re.compile(r"((Rand)?(CuCIM|TorchIO|TorchVision)|SaveClassification)(d|D|Dict)?")
"""Transforms that run whatever another package has under a name, or write files."""

_OWN = ("data", "handlers", "inferers", "losses", "metrics", "networks", "networks.nets", "transforms")
"""Our packages, whose public names may be targets."""

_OPTIONS: Mapping[str, tuple[Any, ...]] = {
    "_debug_": (False,),
    "_mode_": ("default", "callable"),
    "compile_kwargs": (None,),
}
"""All that these options may be: a debugger waits at a prompt, PyTorch's compiler runs the program that it is told."""

_DOTTED = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)*")


def concern_about_target(name: str) -> str | None:
    """Say why what ``_target_`` names is more than a segmentation needs; None if it is not."""
    if not _DOTTED.fullmatch(name):  # a private name, or an expression that could make any
        return f"{name} is no plain name"
    located = _locator().get_component_module_name(name)
    if located is not None:  # one of MONAI's, by its bare name
        name = f"{located if isinstance(located, str) else located[0]}.{name}"
    return None if is_known_target(name) else f"{name} is not known"


def concern_about_argument(name: str, value: Any) -> str | None:
    """Say why a component must not be given an option with a value as it is written; None if it may."""
    if name in _OPTIONS and not any(value is known or value == known for known in _OPTIONS[name]):
        return f"{name} may only be {' or '.join(map(str, _OPTIONS[name]))}"
    return None


@functools.lru_cache(maxsize=4096)
def is_known_target(name: str) -> bool:
    """Tell whether a dotted name stands for a component that may be a target."""
    package, _, last = name.rpartition(".")
    parts = name.split(".")
    if parts[0] not in ("ignite", "logging", "monai", "pu_unet_monai", "torch") or any(p[:1] == "_" for p in parts):
        return False
    if name in _TARGETS or _is_own(package, last):
        return True
    found = _find(name)
    if found is not None and any(found is target for target in _targets()):
        return True
    if not isinstance(found, type) or _OTHER_TRANSFORMS.fullmatch(found.__name__):
        return False
    place = f"{found.__module__}.{found.__qualname__}"
    return _within(place, _CLASSES_OF) and not _within(place, _NO_TARGETS)


@functools.lru_cache(maxsize=1)
def _locator() -> ComponentLocator:
    return ComponentLocator()


@functools.lru_cache(maxsize=1)
def _targets() -> list[Any]:
    """Return what is listed by name, for whoever names the module that it is defined in."""
    return [_find(target) for target in _TARGETS]


def _is_own(package: str, name: str) -> bool:
    """Tell whether one of our packages offers a name."""
    if package not in [f"pu_unet_monai.{part}" for part in _OWN]:
        return False
    return name in importlib.import_module(package).__all__


def _find(name: str) -> Any:
    """Return what a dotted name in a known package stands for, None if there is nothing."""
    root, *parts = name.split(".")
    found: Any = importlib.import_module(root)
    for index, part in enumerate(parts):
        if isinstance(found, types.ModuleType) and part not in vars(found):
            try:
                found = importlib.import_module(".".join((root, *parts[: index + 1])))
            except (Exception, SystemExit):  # what cannot be imported here is not known
                return None
        else:
            found = getattr(found, part, None)
    return found


def _within(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)

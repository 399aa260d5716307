"""Python runs this at its start where this folder is on PYTHONPATH: the environment of MONAI Label.

MONAI Label imports torchvision, to write images only. A torchvision that was built for CUDA does not load its
operators beside a CPU build of PyTorch, and then its import fails on the two whose signatures it wants to know.
Declaring these is enough.
"""

import importlib.util
from pathlib import Path


def _declare_operators() -> None:
    import torch

    torch.library.define("torchvision::nms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    torch.library.define("torchvision::qnms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def _operators_load() -> bool:
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True
    for library in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            return False
    return True


if importlib.util.find_spec("torch") and not _operators_load():
    _declare_operators()

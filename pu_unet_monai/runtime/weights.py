"""Loading weights safely: tensors alone, and a clear word when they do not fit."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pu_unet_monai.errors import UserError

__all__ = ["fill", "load_weights", "read_checkpoint", "unwrap"]

_REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def read_checkpoint(path: str | os.PathLike[str]) -> Any:
    """Read a PyTorch file of tensors and plain containers, on the CPU, without running any code in it.

    Args:
        path: a file written by ``torch.save``.

    Raises:
        UserError: if there is no such file, it is damaged, or reading it would run code.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such weights file; train first, or name another (ckpt_dir: its folder).")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        damaged = _damaged_part(path)
    except pickle.UnpicklingError as error:
        hint = "" if zipfile.is_zipfile(path) else " (is it text, such as a Git LFS pointer?)"
        raise UserError(
            f"{path}: not a file of tensors alone{hint}; loading it could run code, so it was refused. Save the "
            "weights again as torch.save(network.state_dict(), path)."
        ) from error
    except Exception as error:  # damaged files fail in many ways
        raise UserError(
            f"{path}: not a readable PyTorch file ({os.path.getsize(path)} bytes; cut short or another format?): "
            "fetch or copy it again, or use the checkpoint before it."
        ) from error
    if damaged:
        raise UserError(
            f"{path}: damaged ({damaged} in it is not what its checksum says): fetch or copy it again, or use the "
            "checkpoint before it."
        )
    return content


def _damaged_part(path: str | os.PathLike[str]) -> str | None:
    """Return the first part of a PyTorch file whose bytes have changed, which PyTorch does not look at."""
    if not zipfile.is_zipfile(path):  # PyTorch's old format, which has no checksums
        return None
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()


def load_weights(network: nn.Module, path: str | os.PathLike[str]) -> None:
    """Load a state dict, or the network in one of our checkpoints, into a network of the same shape.

    Weights in half precision are converted to the network's precision.

    Args:
        network: the network to fill.
        path: a state dict, or a checkpoint with a state dict under ``network``.

    Raises:
        UserError: as in :func:`read_checkpoint` and :func:`fill`.
    """
    content = read_checkpoint(path)
    if isinstance(content, dict) and isinstance(content.get("network"), dict):
        content = content["network"]
    fill(network, content, path)


def fill(network: nn.Module, state_dict: Any, path: str | os.PathLike[str]) -> None:
    """Load a state dict that was read from a file, if it is one, fits, and is finite.

    Args:
        network: the network to fill.
        state_dict: what the file held.
        path: the file, for messages.

    Raises:
        UserError: saying what does not fit.
    """
    items = state_dict.items() if isinstance(state_dict, dict) else []
    if not items or not all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in items):
        raise UserError(
            f"{path}: holds a {type(state_dict).__name__}, not a state dict; save "
            "torch.save(network.state_dict(), path)."
        )
    network = unwrap(network)
    expected = network.state_dict()
    problems = _differences(state_dict, expected)
    if problems:
        raise UserError(
            f"{path}: does not fit the network: {'; '.join(problems)}. Check network_def, channels, placement, "
            "in_channels and out_channels against those of the training."
        )
    if not all(torch.isfinite(value.to(expected[name].dtype)).all() for name, value in state_dict.items()):
        raise UserError(f"{path}: holds weights that are NaN or infinite; use an earlier checkpoint.")
    network.load_state_dict(dict(state_dict))  # without the instructions to PyTorch that a file may add


def unwrap(network: nn.Module) -> nn.Module:
    """Return the network inside a ``DistributedDataParallel``, or the network itself."""
    return network.module if isinstance(network, DistributedDataParallel) else network


def _differences(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> list[str]:
    problems = []
    for what, names in (("missing", expected.keys() - found.keys()), ("unknown", found.keys() - expected.keys())):
        if names:
            problems.append(f"{len(names)} {what} tensors (such as {min(names)})")
    odd = sorted(k for k in expected.keys() & found.keys() if not _same_kind(found[k], expected[k]))
    if odd:
        kind = f"{found[odd[0]].dtype}, {found[odd[0]].layout} on {found[odd[0]].device}"
        problems.append(f"{len(odd)} tensors of another kind (such as {odd[0]}: {kind}, expected plain real numbers)")
    same = (expected.keys() & found.keys()) - set(odd)
    reshaped = sorted(k for k in same if expected[k].shape != found[k].shape)
    if reshaped:
        first = reshaped[0]
        problems.append(
            f"{len(reshaped)} tensors of another shape (such as {first}: {list(found[first].shape)} in the file, "
            f"{list(expected[first].shape)} in the network)"
        )
    return problems


def _same_kind(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Tell whether a tensor holds values of the kind that is expected: real numbers, or whole ones."""
    if found.layout != torch.strided or found.is_meta or found.is_nested:
        return False
    return found.dtype in _REAL if expected.is_floating_point() else found.dtype == expected.dtype

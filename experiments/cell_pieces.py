"""A finished training of ``compare`` in pieces that any channel carries, and whole again on the other side.

A folder of pieces holds the weights in half precision, cut into ``model.pt.000``, ``model.pt.001`` and so on, and
``cell.json``: the training's small files (settings, epochs, the score of every image), the facts of ``model.json``, the
machine, and the hash of the joined weights.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pu_unet_monai.errors import UserError
from pu_unet_monai.files import atomic_path, make_folder, read_json, write_json
from pu_unet_monai.runtime.machine import machine
from pu_unet_monai.runtime.trained_with import read_facts, write_facts
from pu_unet_monai.runtime.weights import read_checkpoint

__all__ = ["half_precision", "join_pieces", "write_pieces"]

PIECE = 14_000_000
"""Bytes of a piece."""
_FILES = ("config.json", "epochs.csv", "scores.csv", "done.json")
"""What else is kept of a training."""
_RECORD = {"weights_sha256": str, "pieces": int, "trained_with": dict, "machine": dict, "files": dict}


def half_precision(weights: Path) -> bytes:
    """Return a file of weights with its state dict in half precision."""
    content = io.BytesIO()
    torch.save(
        {key: value.half() if value.is_floating_point() else value for key, value in read_checkpoint(weights).items()},
        content,
    )
    return content.getvalue()


def write_pieces(cell: Path, folder: Path) -> str:
    """Write the pieces of a finished training, in place of an earlier one's.

    Args:
        cell: its folder, as ``compare`` leaves it.
        folder: where to.

    Returns:
        The SHA-256 of the joined weights.
    """
    weights = cell / "models" / "model.pt"
    whole = half_precision(weights)
    starts = range(0, len(whole), PIECE)
    for piece in folder.glob("model.pt.[0-9][0-9][0-9]"):
        piece.unlink()
    for number, start in enumerate(starts):
        with atomic_path(folder / f"model.pt.{number:03d}") as path:
            path.write_bytes(whole[start : start + PIECE])
    sha256 = hashlib.sha256(whole).hexdigest()
    content = {
        "weights_sha256": sha256,
        "pieces": len(starts),
        "trained_with": read_facts(weights),
        "machine": machine(),
        "files": {name: (cell / name).read_text(encoding="utf-8") for name in _FILES},
    }
    write_json(folder / "cell.json", content)
    return sha256


def join_pieces(folder: Path) -> Path:
    """Make the folder of the training again, beside the pieces, under ``cell``.

    Args:
        folder: the pieces.

    Returns:
        The folder of the training, with ``models/model.pt`` and what ``experiments.publish_weights`` wants.

    Raises:
        UserError: if a piece is missing or damaged.
    """
    record = _read_record(folder)
    pieces = [folder / f"model.pt.{number:03d}" for number in range(record["pieces"])]
    if missing := [piece.name for piece in pieces if not piece.is_file()]:
        raise UserError(f"--join {folder}: {', '.join(missing)} of {len(pieces)} pieces missing; bring the rest here.")
    whole = b"".join(piece.read_bytes() for piece in pieces)
    if hashlib.sha256(whole).hexdigest() != record["weights_sha256"]:
        raise UserError(f"--join {folder}: a piece is damaged (the whole has another SHA-256); bring them again.")
    cell, temporary = folder / "cell", folder / ".cell"
    shutil.rmtree(temporary, ignore_errors=True)
    make_folder(temporary / "models")
    (temporary / "models" / "model.pt").write_bytes(whole)
    write_facts(temporary / "models" / "model.pt", record["trained_with"])
    write_json(temporary / "machine.json", record["machine"])
    for name, text in record["files"].items():
        (temporary / name).write_text(text, encoding="utf-8")
    shutil.rmtree(cell, ignore_errors=True)
    temporary.rename(cell)
    return cell


def _read_record(folder: Path) -> Mapping[str, Any]:
    path = folder / "cell.json"
    if not path.is_file():
        raise UserError(f"--join {folder}: has no cell.json, so holds no pieces; give a folder that train_gpu wrote.")
    record = read_json(path, "bring it again")
    if odd := [key for key, kind in _RECORD.items() if not isinstance(record.get(key), kind)]:
        raise UserError(f"{path}: {', '.join(odd)}: not what train_gpu writes; bring it again.")
    unknown = record["files"].keys() - set(_FILES)
    if unknown:
        raise UserError(f"{path}: names the files {', '.join(sorted(unknown))}, expected {', '.join(_FILES)} alone.")
    return record

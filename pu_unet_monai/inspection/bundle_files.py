"""The files of a bundle: sizes, hashes, and what in them could run or point elsewhere."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch

from pu_unet_monai.files import file_sha256
from pu_unet_monai.printable import printable
from pu_unet_monai.runtime.trained_with import facts_concern

__all__ = ["BundleFile", "list_files"]

_PYTHON = (".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".sh", ".bat", ".exe")
_PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle")


@dataclass(frozen=True)
class BundleFile:
    """A file of a bundle.

    Args:
        name: its path in the bundle.
        size: bytes.
        sha256: of its content; empty where it was not read.
        concern: what is wrong with it, None if nothing is.
    """

    name: str
    size: int
    sha256: str
    concern: str | None

    def __str__(self) -> str:
        text = f"{self.name}: {self.size} bytes, SHA-256 {self.sha256 or '-'}"
        return printable(text + (f" ({self.concern})" if self.concern else ""))


def list_files(bundle: Path) -> list[BundleFile]:
    """Return the files of a bundle by name; links are named and not followed, nothing is loaded."""
    found = []
    for folder, folders, names in os.walk(bundle):
        folders.sort()
        links = [name for name in folders if Path(folder, name).is_symlink()]
        found += [_describe(Path(folder, name), bundle) for name in sorted([*names, *links])]
    return found


def _describe(path: Path, bundle: Path) -> BundleFile:
    name = str(path.relative_to(bundle))
    if path.is_symlink():
        target = path.resolve()
        inside = target.is_relative_to(bundle.resolve())
        return BundleFile(name, 0, "", None if inside else f"is a link to {target}, outside of the bundle")
    if not path.is_file():
        return BundleFile(name, 0, "", "is no ordinary file")
    return BundleFile(name, path.stat().st_size, file_sha256(path), _concern(path))


def _concern(path: Path) -> str | None:
    suffix = path.suffix.lower()
    if suffix == ".json" and (weights := path.with_suffix(".pt")).is_file():
        return facts_concern(weights)
    if suffix in _PYTHON:
        return "is code"
    if suffix == ".ts":
        return "is a TorchScript program, run by whoever loads it"
    if suffix in _PICKLES:
        return _pickle_concern(path)
    return None


def _pickle_concern(path: Path) -> str | None:
    """Say what loading a file of weights would call beyond PyTorch's own tensors."""
    if not zipfile.is_zipfile(path):
        return "is not in PyTorch's zipped format; only weights_only=True may load it"
    try:
        with zipfile.ZipFile(path) as archive:
            if any(name.split("/")[-1] == "constants.pkl" for name in archive.namelist()):
                return "is a TorchScript program, run by whoever loads it"
            if damaged := archive.testzip():
                return f"is damaged: {damaged} in it is not what its checksum says"
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception as error:  # damaged files fail in many ways
        return f"cannot be read ({type(error).__name__})"
    return f"would call {', '.join(sorted(names))}; load it with weights_only=True alone" if names else None

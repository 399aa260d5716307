"""The formats that a network can be exported to: how each is written, and how it is run."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from monai.data import save_net_with_metadata

from pu_unet_monai.errors import UserError
from pu_unet_monai.runtime.bundle import TrainedBundle
from pu_unet_monai.runtime.export import export_program
from pu_unet_monai.runtime.openvino_network import import_openvino, openvino_core, run_openvino

__all__ = ["FORMATS", "INPUT", "OUTPUT", "Format", "check_packages"]

INPUT, OUTPUT = "image", "logits"
AXES = ("x", "y", "z")
_EXAMPLE_SIZE = (18, 20, 22)


@dataclass(frozen=True)
class Format:
    """A format to export to.

    Args:
        suffixes: of the files that an export consists of, first of the one to load.
        packages: what has to be installed to write it and to run it.
        write: writes a bundle's network, on the CPU, to a file with the first suffix (others beside it).
        load: gives such a file as a function from images (B, C, *spatial) to logits, float32 on the CPU.
    """

    suffixes: tuple[str, ...]
    packages: tuple[str, ...]
    write: Callable[[TrainedBundle, Path], None]
    load: Callable[[Path], Callable[[torch.Tensor], torch.Tensor]]


def check_packages(formats: Iterable[str]) -> None:
    """Check that what the formats need is installed.

    Args:
        formats: names in :data:`FORMATS`.

    Raises:
        UserError: naming all that is missing, and what to install.
    """
    missing = {
        name: [package for package in FORMATS[name].packages if importlib.util.find_spec(package) is None]
        for name in formats
    }
    lacking = [f"{name} needs {', '.join(packages)}" for name, packages in missing.items() if packages]
    if lacking:
        raise UserError(
            f"--format: {'; '.join(lacking)}, not installed here; pip install onnx onnxruntime onnxscript "
            "openvino, or ask for other formats."
        )


def _write_torchscript(bundle: TrainedBundle, path: Path) -> None:
    """Write the scripted network with the bundle's metadata, as MONAI's ``ckpt_export`` does."""
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        scripted = torch.jit.script(bundle.network.eval())
    save_net_with_metadata(scripted, str(path), meta_values=bundle.metadata)


def _load_torchscript(path: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    return torch.jit.load(path, map_location="cpu")


def _write_onnx(bundle: TrainedBundle, path: Path) -> None:
    """Write one file that takes any batch and any spatial size, without the traces of where it was made."""
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    axes = AXES[: bundle.spatial_dims]
    with _quiet_exporter():
        program = torch.onnx.export(
            export_program(bundle.network, torch.rand(2, bundle.in_channels, *_EXAMPLE_SIZE[: len(axes)])),
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: "batch"} | dict(enumerate(axes, start=2)),),
        )
    assert program is not None  # it is for other exporters alone
    ClearMetadataAndDocStringPass()(program.model)  # which hold the paths of this machine's source files
    program.save(path, external_data=False)


def _load_onnx(path: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda image: torch.from_numpy(session.run([OUTPUT], {INPUT: image.numpy()})[0])


def _write_openvino(bundle: TrainedBundle, path: Path) -> None:
    """Convert the ONNX file beside ``path``, which is written if it is not there yet; weights stay in float32."""
    onnx_file = path.with_suffix(".onnx")
    if not onnx_file.exists():
        _write_onnx(bundle, onnx_file)
    import_openvino().save_model(openvino_core().read_model(onnx_file), path, compress_to_fp16=False)


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep what PyTorch's exporter says of itself (deprecated calls, no torchvision) from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(level)


FORMATS = {
    "torchscript": Format((".ts",), (), _write_torchscript, _load_torchscript),
    "onnx": Format((".onnx",), ("onnx", "onnxscript", "onnxruntime"), _write_onnx, _load_onnx),
    "openvino": Format((".xml", ".bin"), ("onnx", "onnxscript", "openvino"), _write_openvino, run_openvino),
}

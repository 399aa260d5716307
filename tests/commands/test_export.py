"""``python -m pu_unet_monai export``: what is written runs elsewhere, at any size, and gives the network's logits."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import unittest.mock
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from monai.data import load_net_with_metadata

from pu_unet_monai.__main__ import main
from pu_unet_monai.networks.nets import PUUNet

FIVE = (8, 8, 8, 8, 16)  # resolutions, as the bundles have
SIZES = {2: [(1, 1), (16, 1), (3, 50), (33, 17), (48, 32)], 3: [(1, 1, 1), (16, 2, 16), (9, 40, 3), (32, 16, 48)]}
FILES = {
    "torchscript": ["{}.ts"],
    "onnx": ["{}.onnx"],
    "openvino": ["{}.bin", "{}.xml"],
}
Run = Callable[[torch.Tensor], torch.Tensor]


def make_bundle(
    repository: Path, folder: Path, dims: int = 2, channels: Sequence[int] = (8, 16)
) -> tuple[Path, PUUNet]:
    """A bundle of the repository at a small width, with random weights, and its network."""
    name = {2: "pu_unet_kvasir", 3: "pu_unet_brats"}[dims]
    ignore = shutil.ignore_patterns("*.pt", "output", "data")
    shutil.copytree(repository / "bundles" / name, folder / name, ignore=ignore)
    path = folder / name / "configs" / "inference.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"channels": channels}))
    torch.manual_seed(dims)
    network = PUUNet(dims, *{2: (3, 1), 3: (4, 3)}[dims], channels=channels).eval()
    (folder / name / "models").mkdir(exist_ok=True)
    torch.save(network.state_dict(), folder / name / "models" / "model.pt")
    return folder / name, network


def run_torchscript(path: Path) -> Run:
    return torch.jit.load(path)


def run_onnx(path: Path) -> Run:
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(["logits"], {"image": x.numpy()})[0])


def run_openvino(path: Path) -> Run:
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    network = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda x: torch.from_numpy(network({"image": x.numpy()})["logits"].copy())


RUN = {"torchscript": run_torchscript, "onnx": run_onnx, "openvino": run_openvino}
LOADED = {"torchscript": "{}.ts", "onnx": "{}.onnx", "openvino": "{}.xml"}


def export(bundle: Path, output: Path, *more: str) -> int:
    return main(["export", "--bundle", str(bundle), "--output", str(output), *more])


def need_all() -> None:
    for package in ("onnx", "onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(package, reason=f"{package} is not installed")


@pytest.fixture(scope="module", params=[2, 3], ids=["2d", "3d"])
def exported(request, repository, tmp_path_factory) -> tuple[Path, Path, PUUNet]:
    """A bundle, the folder of its exports, and its network."""
    need_all()
    folder = tmp_path_factory.mktemp("export")
    bundle, network = make_bundle(repository, folder, request.param, FIVE)
    with unittest.mock.patch("torch.onnx.export", wraps=torch.onnx.export) as traced:
        assert export(bundle, folder / "out") == 0
    assert traced.call_count == 1  # it takes longer than the rest, and OpenVINO's file is made of ONNX's
    return bundle, folder / "out", network


@pytest.mark.parametrize("name", list(RUN))
def test_logits_at_any_size(exported, name):
    """Against the network itself, at sizes that the command did not compare at."""
    bundle, output, network = exported
    run = RUN[name](output / LOADED[name].format(bundle.name))
    generator = torch.Generator().manual_seed(5)
    for number, size in enumerate(SIZES[network.spatial_dims]):
        x = torch.randn(1 + 2 * (number % 2), network.in_channels, *size, generator=generator)
        with torch.no_grad():
            expected = network(x)
            found = run(x)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


def test_files_and_report(exported):
    bundle, output, network = exported
    files = sorted(file.format(bundle.name) for names in FILES.values() for file in names)
    assert sorted(path.name for path in output.iterdir()) == sorted([*files, "export.json"])
    report = json.loads((output / "export.json").read_text())
    assert report["bundle"] == bundle.name
    assert report["weights_sha256"] == hashlib.sha256((bundle / "models" / "model.pt").read_bytes()).hexdigest()
    assert report["precision"] == "float32"
    assert report["versions"].keys() == {*("python", "torch", "monai", "onnx", "onnxruntime", "onnxscript", "openvino")}
    assert report["input"]["axes"] == ["batch", "channel", "x", "y", "z"][: 2 + network.spatial_dims]
    assert "logits" in report["output"]["content"]
    assert report["refused"] == {}
    for name, entry in report["formats"].items():
        assert sorted(entry["bytes"]) == [file.format(bundle.name) for file in FILES[name]]
        assert all((output / file).stat().st_size == size for file, size in entry["bytes"].items())
        shapes = [tuple(row["shape"]) for row in entry["differences"]]
        assert (1, network.in_channels, *[1] * network.spatial_dims) in shapes
        assert {shape[0] for shape in shapes} == {1, 2}
        assert max(row["relative"] for row in entry["differences"]) <= report["tolerance"] == 1e-4


def test_torchscript_carries_the_metadata(exported):
    bundle, output, _ = exported
    _, metadata, _ = load_net_with_metadata(str(output / f"{bundle.name}.ts"))
    expected = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert metadata["name"] == expected["name"]
    assert metadata["network_data_format"] == expected["network_data_format"]


def test_onnx_says_what_it_takes_and_nothing_of_this_machine(exported, repository):
    import onnx

    bundle, output, network = exported
    path = output / f"{bundle.name}.onnx"
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    axes = ["x", "y", "z"][: network.spatial_dims]
    for value, name, channels in (
        (model.graph.input[0], "image", network.in_channels),
        (model.graph.output[0], "logits", network.head.out_channels),
    ):
        assert value.name == name
        assert [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] == ["batch", channels, *axes]
    assert str(repository).encode() not in path.read_bytes()


def test_a_format_that_differs_too_much_is_refused(repository, tmp_path, capsys):
    need_all()
    bundle, _ = make_bundle(repository, tmp_path)
    output = tmp_path / "out"
    output.mkdir()
    (output / "pu_unet_kvasir.onnx").write_text("of an earlier export")
    assert export(bundle, output, "--format", "ts", "onnx", "--tolerance", "1e-12") == 1
    assert sorted(path.name for path in output.iterdir()) == ["export.json", "pu_unet_kvasir.ts"]
    printed = capsys.readouterr().out
    (line,) = [line for line in printed.splitlines() if line.startswith("refused: ")]
    assert "onnx: at [" in line
    assert "more than --tolerance 1e-12" in line
    assert "1 of 2 formats exported" in printed
    report = json.loads((output / "export.json").read_text())
    assert list(report["formats"]) == ["torchscript"]
    assert list(report["refused"]) == ["onnx"]
    assert report["refused"]["onnx"]["differences"]


def test_weights_of_another_folder_and_width(repository, tmp_path):
    bundle, _ = make_bundle(repository, tmp_path)
    torch.manual_seed(1)
    network = PUUNet(channels=(16, 8, 8)).eval()
    (tmp_path / "other").mkdir()
    torch.save(network.state_dict(), tmp_path / "other" / "model.pt")
    settings = ("--set", "channels=[16,8,8]", "--set", f"ckpt_dir={tmp_path / 'other'}")
    assert export(bundle, tmp_path / "out", "--format", "torchscript", *settings) == 0
    x = torch.rand(1, 3, 7, 10)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.load(tmp_path / "out" / "pu_unet_kvasir.ts")(x), network(x))
    assert json.loads((tmp_path / "out" / "export.json").read_text())["settings"]["channels"] == [16, 8, 8]


def test_missing_packages_are_one_line(repository, tmp_path, capsys, monkeypatch):
    """``None`` in ``sys.modules`` is how Python marks a module as not to be found."""
    for package in ("onnx", "onnxscript", "onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, package, None)
    bundle, _ = make_bundle(repository, tmp_path)
    assert export(bundle, tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "onnx needs onnx, onnxscript, onnxruntime; openvino needs onnx, onnxscript, openvino, not installed" in line
    assert "pip install onnx onnxruntime onnxscript openvino" in line
    assert not (tmp_path / "out").exists()
    assert export(bundle, tmp_path / "out", "--format", "torchscript") == 0


def test_missing_weights_and_bad_options(repository, tmp_path, capsys):
    bundle, _ = make_bundle(repository, tmp_path)
    (bundle / "models" / "model.pt").unlink()
    assert export(bundle, tmp_path / "out", "--format", "torchscript") == 2
    assert "model.pt: no such weights file" in capsys.readouterr().err
    assert export(bundle, tmp_path / "out", "--format", "torchscript", "--set", "channel=[8]") == 2
    assert "has no key channel (did you mean channels?)" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        export(bundle, tmp_path / "out", "--format", "tensorrt")
    assert not (tmp_path / "out").exists()


def test_openvino_reports_to_nobody(repository, tmp_path):
    """Importing OpenVINO would otherwise write an id into the home folder, and send it with the versions."""
    need_all()
    bundle, _ = make_bundle(repository, tmp_path)
    command = ["export", "--bundle", str(bundle), "--output", str(tmp_path / "out"), "--format", "openvino"]
    env = os.environ | {"HOME": str(tmp_path / "home"), "PYTHONPATH": str(repository), "CI": ""}
    (tmp_path / "home").mkdir()
    subprocess.run([sys.executable, "-m", "pu_unet_monai", *command], env=env, check=True, capture_output=True)
    assert list((tmp_path / "home").rglob("*openvino*")) == []

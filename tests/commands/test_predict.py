"""``python -m pu_unet_monai predict`` on images."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from pu_unet_monai.__main__ import main
from pu_unet_monai.networks.nets import PUUNet
from pu_unet_monai.runtime.bundle import TrainedBundle
from tests.reliability.tally import examples

SIZES = {"wide.png": (70, 40), "tall.jpg": (33, 61), "Grey Image.png": (48, 48)}


@pytest.fixture(scope="module")
def bundle(repository, tmp_path_factory) -> Path:
    """The Kvasir bundle at a small width, with random weights that give both foreground and background."""
    folder = tmp_path_factory.mktemp("bundle") / "pu_unet_kvasir"
    shutil.copytree(
        repository / "bundles" / "pu_unet_kvasir", folder, ignore=shutil.ignore_patterns("*.pt", "output", "data")
    )
    for name in ("inference.json",):
        config = json.loads((folder / "configs" / name).read_text())
        config |= {"channels": [8, 16], "image_size": 32}
        (folder / "configs" / name).write_text(json.dumps(config))
    torch.manual_seed(0)
    (folder / "models").mkdir(exist_ok=True)
    torch.save(PUUNet(channels=(8, 16)).half().state_dict(), folder / "models" / "model.pt")
    return folder


@pytest.fixture
def images(tmp_path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name, (width, height) in SIZES.items():
        shape = (height, width) if name.startswith("Grey") else (height, width, 3)
        Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
    return folder


def predict(bundle: Path, images: Path, output: Path, *more: str) -> int:
    return main(["predict", "--bundle", str(bundle), "--input", str(images), "--output", str(output), *more])


def test_masks_overlays_and_report(bundle, images, tmp_path, capsys):
    (images / "wide_seg.png").write_bytes(b"a result of an earlier run, to be ignored")
    assert predict(bundle, images, tmp_path / "out", "--device", "cpu") == 0
    stems = sorted(Path(name).stem for name in SIZES)
    expected = [f"{stem}{end}.png" for stem in stems for end in ("", "_overlay")] + ["report.json"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(expected)
    for name, size in SIZES.items():
        mask = Image.open(tmp_path / "out" / f"{Path(name).stem}.png")
        assert mask.size == size
        assert set(np.unique(np.asarray(mask))) <= {0, 255}
        assert Image.open(tmp_path / "out" / f"{Path(name).stem}_overlay.png").size == size
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [case["case"] for case in report["cases"]] == stems
    assert report["failed"] == []
    assert report["skipped"] == ["wide_seg.png"]
    assert report["bundle"] == "pu_unet_kvasir"
    assert report["weights_sha256"] == hashlib.sha256((bundle / "models" / "model.pt").read_bytes()).hexdigest()
    assert "Not a medical device" in report["notice"]
    assert "3 of 3 cases segmented" in capsys.readouterr().out


def test_mask_is_the_network_at_native_size(bundle, images, tmp_path):
    """Against plain PyTorch: resize, run, resize back, threshold."""
    assert predict(bundle, images / "wide.png", tmp_path / "out", "--set", "amp=false") == 0
    pixels = torch.from_numpy(np.array(Image.open(images / "wide.png"))).float() / 255
    network = PUUNet(channels=(8, 16)).eval()
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    # the 70x40 image is shrunk to 32x32, smoothed by (factor - 1) / 2 first
    from monai.transforms import Resize

    grid = Resize((32, 32), mode="bilinear", anti_aliasing=True)(pixels.permute(2, 1, 0))
    with torch.no_grad():
        probability = network(torch.as_tensor(grid)[None]).sigmoid()
    native = torch.nn.functional.interpolate(probability, (70, 40), mode="bilinear")[0, 0].T
    mask = np.asarray(Image.open(tmp_path / "out" / "wide.png")) > 0
    near_threshold = (native - 0.5).abs().numpy() < 1e-3
    assert 0.05 < mask.mean() < 0.95
    assert np.array_equal(mask[~near_threshold], (native > 0.5).numpy()[~near_threshold])


def test_one_bad_image_does_not_stop_the_others(bundle, images, tmp_path, capsys):
    (images / "broken.jpg").write_bytes((images / "tall.jpg").read_bytes()[:200])
    (images / "text.png").write_text("no image")
    assert predict(bundle, images, tmp_path / "out") == 1
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"wide.png", "tall.png", "Grey Image.png"} <= names
    assert not {"broken.png", "broken_overlay.png", "text.png"} & names
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [failure["image"] for failure in report["failed"]] == ["broken.jpg", "text.png"]
    printed = capsys.readouterr().out
    assert "3 of 5 cases segmented" in printed
    assert "broken.jpg: not a readable image" in printed


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--set", "imagesize=64"], "has no key imagesize (did you mean image_size?)"),
        (["--set", "channels=abc"], "channels must be a list of widths such as [16, 32, 64], got 'abc'"),
        (["--set", "channels=[8,'b']"], "cannot be built with {'channels': [8, 'b']}"),
        (["--set", "network_def#in_chanels=3"], "unexpected keyword argument 'in_chanels'"),
        (["--set", "image_size"], "--set image_size: expected KEY=VALUE"),
        (["--set", "channels=[16,32]"], "does not fit the network"),
        (["--set", "ckpt_dir=nowhere"], "nowhere/model.pt: no such weights file"),
        (["--set", "image_size=abc"], "image_size 'abc': expected a whole number of pixels, 1 or more"),
        (["--set", "image_size=0"], "image_size 0: expected a whole number"),
        (["--set", "image_size=[64,-64]"], "image_size [64, -64]: expected a whole number"),
        (["--set", "image_size=64.0"], "image_size 64.0: expected a whole number"),
        (["--device", "cuda:99"], "--device cuda:99: not usable here"),
        (["--device", "toaster"], "--device toaster: not usable here"),
    ],
)
def test_wrong_use_is_one_line(bundle, images, tmp_path, capsys, more, expected):
    assert predict(bundle, images, tmp_path / "out", *more) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert expected in error
    assert "\n" not in error
    assert not (tmp_path / "out").exists()


def test_folders_that_cannot_be(bundle, images, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for bundle_, input_, output, expected in [
        (bundle, tmp_path / "empty", tmp_path / "out", "empty: holds no image"),
        (bundle, tmp_path / "nowhere", tmp_path / "out", "nowhere: no such folder"),
        (bundle, bundle / "LICENSE", tmp_path / "out", "LICENSE: not an image by its name; expected one that ends in"),
        (tmp_path / "nowhere", images, tmp_path / "out", "nowhere: no such folder"),
        (tmp_path / "empty", images, tmp_path / "out", "not a bundle"),
        (bundle, images, images, "holds the images themselves"),
    ]:
        assert predict(bundle_, input_, output) == 2
        assert expected in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_nothing_but_results(bundle, images, tmp_path, capsys):
    for path in images.iterdir():
        path.rename(path.with_stem(f"{path.stem}_seg"))
    assert predict(bundle, images, tmp_path / "out") == 2
    assert "(left aside: 3 hidden or named as results, _seg or _overlay)" in capsys.readouterr().err


def test_a_link_that_leads_nowhere_is_a_failure(bundle, images, tmp_path, capsys):
    (images / "lost.png").symlink_to("gone.png")
    assert predict(bundle, images, tmp_path / "out") == 1
    printed = capsys.readouterr().out
    assert "failed: lost.png: " in printed
    assert "3 of 4 cases segmented" in printed


def test_output_that_may_not_be_written_is_said_before_the_first_case(bundle, images, capsys, monkeypatch):
    monkeypatch.setattr(TrainedBundle, "predict", None)
    assert predict(bundle, images, Path("/proc/self/task")) == 2
    assert "/proc/self/task/report.json: could not be written" in capsys.readouterr().err


def test_nothing_is_said_that_is_not_ours(bundle, images, tmp_path):
    command = ["-m", "pu_unet_monai", "predict", "--bundle", bundle, "--input", images, "--output", tmp_path / "out"]
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, check=True)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{bundle}/models/model.json: is not of the weights beside it")


def test_output_that_is_a_file(bundle, images, tmp_path, capsys):
    (tmp_path / "out").touch()
    assert predict(bundle, images, tmp_path / "out") == 2
    assert "out: cannot be a folder" in capsys.readouterr().err


def test_cause_of_a_failure_is_named(bundle, images, tmp_path, capsys):
    assert predict(bundle, images / "wide.png", tmp_path / "out", "--set", "spatial_size=abc") == 1
    (failure,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("failed: ")]
    assert failure.startswith("failed: wide.png: ")
    assert "Error: " in failure


def test_ctrl_c_leaves_whole_files_and_a_report(bundle, images, tmp_path, capsys, monkeypatch):
    segment = TrainedBundle.predict

    def interrupted(self: TrainedBundle, image: str):
        if Path(image).name.startswith("wide"):
            raise KeyboardInterrupt
        return segment(self, image)

    monkeypatch.setattr(TrainedBundle, "predict", interrupted)
    assert predict(bundle, images, tmp_path / "out") == 130
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [case["case"] for case in report["cases"]] == ["Grey Image", "tall"]
    assert report["not_run"] == ["wide.png"]
    assert not (tmp_path / "out" / "wide.png").exists()
    assert "interrupted" in capsys.readouterr().out


def test_images_with_one_stem_are_refused(bundle, images, tmp_path, capsys):
    shutil.copy(images / "tall.jpg", images / "wide.jpg")
    assert predict(bundle, images, tmp_path / "out") == 2
    assert "same name: wide.jpg, wide.png" in capsys.readouterr().err


def test_dicom_below_a_folder_of_images_is_left_aside(bundle, images, tmp_path, capsys):
    (images / "raw").mkdir()
    (images / "raw" / "slice.dcm").write_bytes(bytes(128) + b"DICM")
    assert predict(bundle, images, tmp_path / "out") == 0
    assert "raw" in json.loads((tmp_path / "out" / "report.json").read_text())["skipped"]
    assert predict(bundle, images / "raw", tmp_path / "none") == 2
    assert "raw: DICOM, but this bundle takes PNG or JPEG images; export them as such." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "advice"),
    [
        ("--probabilites", "unrecognized arguments: --probabilites; did you mean --probabilities?"),
        ("--prob", "unrecognized arguments: --prob; "),
        ("--memory_budget=2GB", "a key of the bundle's configuration is set by --set KEY=VALUE"),
    ],
)
def test_unknown_options(bundle, images, tmp_path, capsys, option, advice):
    with pytest.raises(SystemExit, match="2"):
        predict(bundle, images, tmp_path / "out", option)
    assert advice in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "runtime", "precision"),
    [
        (("--precision", "float32"), "eager", "float32"),
        (("--precision", "bfloat16"), "eager", "bfloat16"),
        (("--runtime", "openvino", "--precision", "float32"), "openvino", "float32"),
        (("--set", "amp=false"), "eager", "float32"),
    ],
)
def test_runtime_and_precision(bundle, images, tmp_path, capsys, options, runtime, precision):
    if runtime == "openvino":
        pytest.importorskip("openvino")
    assert predict(bundle, images, tmp_path / "out", "--device", "cpu", *options) == 0
    found = json.loads((tmp_path / "out" / "report.json").read_text())["cases"][0]["runtime"]
    assert (found["runtime"], found["precision"]) == (runtime, precision)
    assert found["difference"] < 0.05
    assert f"computed by {runtime} in {precision}" in capsys.readouterr().out


def test_wrong_runtime_and_precision(bundle, images, tmp_path, capsys):
    for option, value in (("--runtime", "engine"), ("--precision", "float16")):
        with pytest.raises(SystemExit) as stopped:
            predict(bundle, images, tmp_path / "out", option, value)
        assert stopped.value.code == 2
        assert f"{option}: invalid choice: '{value}'" in capsys.readouterr().err
    assert predict(bundle, images, tmp_path / "out", "--set", "runtime=engine") == 2
    assert "runtime must be one of auto, eager, compile, openvino, got 'engine'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


FILE_NAMES = st.builds(
    lambda stem, suffix: os.fsdecode(stem.replace(b"/", b"$").replace(b"\0", b"%") + suffix),
    st.binary(min_size=1, max_size=60)
    | st.text(st.sampled_from("$\\_^{}%\n\r\t\x1b~ü漢.-* '\""), min_size=1, max_size=20).map(str.encode),
    st.sampled_from([b".png", b".PNG", b".jpg", b".tif", b".bmp"]),
)


@examples(short=8, full=200)
@given(names=st.lists(FILE_NAMES, min_size=1, max_size=6, unique=True))
@example(names=["p$1_$2.png", "M\udcfcller.png", "a\nb.png", "100%_{x}^.png"])
def test_any_file_name_gives_a_mask_or_one_line(bundle, tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("names")
    (folder / "in").mkdir()
    for name in names:
        Image.new("RGB", (20, 16), (200, 90, 30)).save(folder / "image.png")
        shutil.move(folder / "image.png", folder / "in" / name)
    (folder / "in" / "M\udcfcller.txt").touch()
    out, error = io.TextIOWrapper(io.BytesIO(), "utf-8", "strict"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        code = predict(bundle, folder / "in", folder / "out", "--set", "amp=false")
    out.seek(0)
    if code == 2:  # nothing but hidden ones, or two with one stem
        assert error.getvalue().count("\n") == 1
        assert "holds no image" in error.getvalue() or "the same name" in error.getvalue()
        return
    assert code == 0, out.read()
    report = json.loads((folder / "out" / "report.json").read_text())
    assert {case["image"] for case in report["cases"]} | set(report["skipped"]) == {*names, "M\udcfcller.txt"}
    for case in report["cases"]:
        for result in (case["mask"], case["overlay"]):
            with Image.open(folder / "out" / result) as picture:
                assert picture.size == (20, 16)
    said = out.read()
    assert len(said.splitlines()) == 4  # left aside, cases segmented, computed by, the notice
    assert "M\\udcfcller.txt" in said


def test_names_of_failed_images_are_one_line(bundle, images, tmp_path, capsys):
    (images / "a\nfailed: \x1b[2Jb\udcfc.png").write_text("no image")
    assert predict(bundle, images, tmp_path / "out") == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 1
    assert failed[0].startswith("failed: a\\nfailed: \\x1b[2Jb\\udcfc.png: ")
    assert failed[0].endswith("export or copy it again")


def test_older_results_of_a_case_that_fails_are_named(bundle, images, tmp_path, capsys):
    assert predict(bundle, images, tmp_path / "out") == 0
    before = (tmp_path / "out" / "wide.png").read_bytes()
    for name in ("wide.png", "new.png"):
        (images / name).write_text("no image")
    capsys.readouterr()
    assert predict(bundle, images, tmp_path / "out") == 1
    assert (tmp_path / "out" / "wide.png").read_bytes() == before
    new, wide = json.loads((tmp_path / "out" / "report.json").read_text())["failed"]
    assert wide["error"].endswith("; of an earlier run there still is wide.png, wide_overlay.png")
    assert "earlier run" not in new["error"]
    said = capsys.readouterr().out
    assert wide["error"] in said
    assert said.count("earlier run") == 1  # none of the cases that went well


def test_results_of_this_run_are_no_older_ones(bundle, images, tmp_path):
    """The mask is new, and of the overlay, which cannot be replaced, the one before remains."""
    assert predict(bundle, images / "wide.png", tmp_path / "out") == 0
    (tmp_path / "out" / "wide_overlay.png").unlink()
    (tmp_path / "out" / "wide_overlay.png").mkdir()
    assert predict(bundle, images / "wide.png", tmp_path / "out") == 1
    (failure,) = json.loads((tmp_path / "out" / "report.json").read_text())["failed"]
    assert failure["error"].endswith("; of an earlier run there still is wide_overlay.png")

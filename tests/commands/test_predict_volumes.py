"""``python -m pu_unet_monai predict`` on brain MRI volumes."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.data import ITKWriter
from nibabel.orientations import aff2axcodes
from PIL import Image

from data_prep import volume_phantom
from pu_unet_monai.__main__ import main
from pu_unet_monai.networks.nets import PUUNet
from tests.commands.conftest import network

MODALITIES = ("flair", "t1", "t1ce", "t2")
SHAPE = (40, 44, 36)
OBLIQUE = np.array([[0.98, -0.17, 0.02, -60.5], [0.17, 0.97, -0.1, 12.25], [0.0, 0.1, 0.99, -33.3], [0, 0, 0, 1.0]])


@pytest.fixture(scope="module")
def phantom(tmp_path_factory) -> Path:
    """Three cases in the layout of BraTS, with their segmentations among them."""
    folder = tmp_path_factory.mktemp("phantom") / "brats"
    volume_phantom.make(folder, "brats", number=3, shape=SHAPE)
    return folder


def case_folders(phantom: Path) -> list[Path]:
    return sorted(path for path in phantom.iterdir() if path.is_dir())


def image_of(case: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (x, y, z, 4) and affine of a case."""
    images = [nibabel.load(next(case.glob(f"*_{name}.nii.gz"))) for name in MODALITIES]
    return np.stack([np.asarray(image.dataobj) for image in images], axis=-1), images[0].affine


def predict(bundle: Path, images: Path, output: Path, *more: str) -> int:
    return main(["predict", "--bundle", str(bundle), "--input", str(images), "--output", str(output), *more])


def seg(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj)


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * (first & second).sum() / (first.sum() + second.sum())


@pytest.fixture(scope="module")
def predicted(bundle, phantom, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("predicted") / "out"
    assert predict(bundle, phantom, output, "--probabilities") == 0
    return output


def box_of(mask: np.ndarray) -> list[list[int]]:
    """Return the first voxels of a mask, and the first behind it."""
    found = np.argwhere(mask)
    return [found.min(axis=0).tolist(), (found.max(axis=0) + 1).tolist()]


def test_files_and_report(bundle, phantom, predicted):
    names = [case.name for case in case_folders(phantom)]
    endings = ("_seg.nii.gz", "_prob.nii.gz", ".png")
    expected = sorted([f"{name}{ending}" for name in names for ending in endings] + ["report.json"])
    assert sorted(path.name for path in predicted.iterdir()) == expected
    report = json.loads((predicted / "report.json").read_text())
    assert [case["case"] for case in report["cases"]] == names
    assert report["failed"] == report["skipped"] == []
    assert report["weights_sha256"] == hashlib.sha256((bundle / "models" / "model.pt").read_bytes()).hexdigest()
    assert report["peak_memory_mb"] > 100
    assert "Not a medical device" in report["notice"]
    for case, folder in zip(report["cases"], case_folders(phantom), strict=True):
        values = seg(predicted / case["segmentation"])
        brain = (image_of(folder)[0] != 0).any(axis=-1)
        assert not values[~brain].any()
        assert case["foreground_box"] == box_of(brain)
        assert case["numbering"] == "brats"
        assert case["seconds"] > 0
        assert case["forced"] == []
        voxels = {"WT": values > 0, "TC": (values == 1) | (values == 3), "ET": values == 3}
        assert case["volumes_ml"] == {region: pytest.approx(mask.sum() / 1000) for region, mask in voxels.items()}
        assert all(mask.any() for mask in voxels.values())  # else the tests here would say little
        assert Image.open(predicted / case["picture"]).width > 600


def test_geometry_is_the_input(phantom, predicted):
    for case in case_folders(phantom):
        source = nibabel.load(case / f"{case.name}_flair.nii.gz")
        for ending, shape in (("seg", SHAPE), ("prob", (*SHAPE, 3))):
            written = nibabel.load(predicted / f"{case.name}_{ending}.nii.gz")
            assert written.shape == shape
            assert np.array_equal(written.affine, source.affine)
            assert written.header["sform_code"] == source.header["sform_code"]
            assert written.header["qform_code"] == source.header["qform_code"]


def test_labels_are_the_network_on_the_box_of_the_brain(phantom, predicted):
    """Against plain numpy and PyTorch."""
    case = case_folders(phantom)[0]
    voxels, _ = image_of(case)
    box = tuple(slice(found.min(), found.max() + 1) for found in np.nonzero((voxels != 0).any(axis=-1)))
    image = voxels[box].astype(np.float32)
    for channel in np.moveaxis(image, -1, 0):
        inside = channel != 0
        channel[inside] = (channel[inside] - channel[inside].mean()) / channel[inside].std()
    with torch.no_grad():
        logits = network()(torch.from_numpy(np.moveaxis(image, -1, 0))[None])[0].numpy()
    logits[:, (image == 0).all(axis=-1)] = -10  # there is no brain
    expected = np.zeros(SHAPE, np.uint8)
    for logit, value in zip(logits[[1, 0, 2]], (2, 1, 3), strict=True):
        expected[box][logit > 0] = value
    found = seg(predicted / f"{case.name}_seg.nii.gz")
    unsure = np.zeros(SHAPE, bool)
    unsure[box] = (np.abs(logits) < 1e-3).any(axis=0)
    assert np.array_equal(found[~unsure], expected[~unsure])
    probabilities = np.asarray(nibabel.load(predicted / f"{case.name}_prob.nii.gz").dataobj)
    assert np.allclose(np.moveaxis(probabilities, -1, 0)[(slice(None), *box)], 1 / (1 + np.exp(-logits)), atol=1e-4)
    assert set(np.unique(found)) == {0, 1, 2, 3}


@pytest.mark.parametrize("order", ["RAS", "LPS", "PIR"])
def test_other_orientations_put_back_are_the_same(bundle, phantom, predicted, tmp_path, order):
    case = case_folders(phantom)[0]
    image = nibabel.Nifti1Image(*image_of(case))
    codes = nibabel.orientations.axcodes2ornt(order)
    turned = image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), codes))
    assert "".join(aff2axcodes(turned.affine)) == order
    nibabel.save(turned, tmp_path / "turned.nii.gz")
    assert predict(bundle, tmp_path / "turned.nii.gz", tmp_path / "out") == 0
    written = nibabel.load(tmp_path / "out" / "turned_seg.nii.gz")
    assert written.shape == turned.shape[:3]
    assert np.array_equal(written.affine, nibabel.load(tmp_path / "turned.nii.gz").affine)
    back = written.as_reoriented(nibabel.orientations.ornt_transform(codes, nibabel.io_orientation(image.affine)))
    assert np.array_equal(np.asarray(back.dataobj), seg(predicted / f"{case.name}_seg.nii.gz"))
    (reported,) = json.loads((tmp_path / "out" / "report.json").read_text())["cases"]
    assert reported["foreground_box"] == box_of((np.asarray(turned.dataobj) != 0).any(axis=-1))


def test_oblique_headers(bundle, phantom, predicted, tmp_path):
    case = case_folders(phantom)[0]
    voxels, _ = image_of(case)
    affine = OBLIQUE.copy()
    affine[:3, :3] = np.linalg.qr(affine[:3, :3])[0] * np.sign(np.diag(np.linalg.qr(affine[:3, :3])[1]))
    affine[:3, :2] *= -1  # nearest to LPS, as the phantom is
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "oblique.nii.gz")
    assert predict(bundle, tmp_path / "oblique.nii.gz", tmp_path / "out") == 0
    written = nibabel.load(tmp_path / "out" / "oblique_seg.nii.gz")
    assert np.array_equal(written.affine, nibabel.load(tmp_path / "oblique.nii.gz").affine)
    found, expected = np.asarray(written.dataobj), seg(predicted / f"{case.name}_seg.nii.gz")
    assert dice(found > 0, expected > 0) > 0.99


def test_another_spacing_keeps_its_grid(bundle, phantom, predicted, tmp_path):
    """Voxels of 2 mm are segmented on the network's grid of 1 mm and brought back."""
    case = case_folders(phantom)[0]
    voxels, affine = image_of(case)
    coarse = affine @ np.diag([1, 1, 2, 1.0])
    nibabel.save(nibabel.Nifti1Image(voxels[:, :, ::2], coarse), tmp_path / "coarse.nii.gz")
    assert predict(bundle, tmp_path / "coarse.nii.gz", tmp_path / "out") == 0
    written = nibabel.load(tmp_path / "out" / "coarse_seg.nii.gz")
    assert written.shape == (*SHAPE[:2], SHAPE[2] // 2)
    assert np.array_equal(written.affine, coarse)
    fine = seg(predicted / f"{case.name}_seg.nii.gz")[:, :, ::2]
    assert dice(np.asarray(written.dataobj) > 0, fine > 0) > 0.8


def test_one_file_or_four_files_of_any_format(bundle, phantom, predicted, tmp_path):
    case = case_folders(phantom)[0]
    voxels, affine = image_of(case)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / f"{case.name}.nii")
    for channel, name in enumerate(MODALITIES):
        writer = ITKWriter(output_dtype=np.int16)
        writer.set_data_array(voxels[..., channel], channel_dim=None)
        writer.set_metadata({"affine": affine, "original_affine": affine}, resample=False)
        (tmp_path / "itk").mkdir(exist_ok=True)
        writer.write(str(tmp_path / "itk" / f"{case.name}_{name}{'.mha' if channel % 2 else '.nrrd'}"))
    for number, path in enumerate([tmp_path / f"{case.name}.nii", tmp_path / "itk", case]):
        output = tmp_path / f"out{number}"
        assert predict(bundle, path, output) == 0
        written = nibabel.load(output / f"{case.name}_seg.nii.gz")
        assert np.allclose(written.affine, affine, atol=1e-5)
        assert np.array_equal(np.asarray(written.dataobj), seg(predicted / f"{case.name}_seg.nii.gz"))


def test_decathlon_numbering_on_request(bundle, phantom, predicted, tmp_path):
    case = case_folders(phantom)[0]
    assert predict(bundle, case, tmp_path / "out", "--numbering", "decathlon") == 0
    found = seg(tmp_path / "out" / f"{case.name}_seg.nii.gz")
    assert np.array_equal(found, np.array([0, 2, 1, 3])[seg(predicted / f"{case.name}_seg.nii.gz")])
    (entry,) = json.loads((tmp_path / "out" / "report.json").read_text())["cases"]
    (before, *_) = json.loads((predicted / "report.json").read_text())["cases"]
    assert entry["numbering"] == "decathlon"
    assert entry["volumes_ml"] == before["volumes_ml"]


def test_tiles_within_a_budget(bundle, phantom, tmp_path):
    """The same weights, by tiles, give about what one pass gives."""
    case = case_folders(phantom)[0]
    assert predict(bundle, case, tmp_path / "tiles", "--set", "window=[32,32,32]") == 0
    assert predict(bundle, case, tmp_path / "pass", "--set", "memory_budget=100GB") == 0
    first, second = (seg(tmp_path / name / f"{case.name}_seg.nii.gz") > 0 for name in ("tiles", "pass"))
    for name, window in (("tiles", [32, 32, 32]), ("pass", "foreground")):
        (entry,) = json.loads((tmp_path / name / "report.json").read_text())["cases"]
        assert entry["window"] == window
    assert not np.array_equal(first, second)  # GroupNorm sees the window
    assert dice(first, second) > 0.8


def test_window_of_the_metadata_is_followed(bundle, phantom, tmp_path, capsys):
    """Tiles of the size that the weights were trained for, and a word if it is otherwise."""
    folder, case = tmp_path / "pu_unet_brats", case_folders(phantom)[0]
    shutil.copytree(bundle, folder)
    path = folder / "configs" / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"window": [24, 24, 16]}))
    assert predict(folder, case, tmp_path / "followed") == 0
    assert "warning" not in capsys.readouterr().out
    (entry,) = json.loads((tmp_path / "followed" / "report.json").read_text())["cases"]
    assert entry["window"] == [24, 24, 16]
    assert predict(folder, case, tmp_path / "other", "--set", "window=foreground") == 0
    assert f"warning: {case.name}: segmented by foreground, but the weights" in capsys.readouterr().out
    assert predict(folder, case, tmp_path / "wrong", "--set", "window=patches") == 2
    assert "window: 'patches', expected \"foreground\" or a size such as [32, 32, 32]" in capsys.readouterr().err


def test_two_patients_in_one_folder_keep_their_names(bundle, phantom, tmp_path):
    """Also where the names of their files have nothing else in common, and mix separators."""
    (tmp_path / "in").mkdir()
    endings = ("_FLAIR", "-T1", " T1 post", "_T2")
    for patient, case in zip(("P7", "P8"), case_folders(phantom), strict=False):
        for name, ending in zip(MODALITIES, endings, strict=True):
            shutil.copy(next(case.glob(f"*_{name}.nii.gz")), tmp_path / "in" / f"{patient}{ending}.nii.gz")
    assert predict(bundle, tmp_path / "in", tmp_path / "out") == 0
    assert sorted(p.name for p in (tmp_path / "out").glob("*_seg.nii.gz")) == ["P7_seg.nii.gz", "P8_seg.nii.gz"]


def test_budget_that_is_too_small_is_one_line(bundle, phantom, tmp_path, capsys):
    case = case_folders(phantom)[0]
    assert predict(bundle, case, tmp_path / "out", "--set", "memory_budget=10MB") == 1
    (failure,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("failed: ")]
    assert failure.startswith(f"failed: {case.name}: memory_budget")
    assert not (tmp_path / "out" / f"{case.name}_seg.nii.gz").exists()


def save_4d(folder: Path, name: str, voxels: np.ndarray, affine: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(voxels, affine), folder / f"{name}.nii.gz")
    return folder / f"{name}.nii.gz"


def test_bad_cases_do_not_stop_the_good_one(bundle, phantom, tmp_path, capsys):
    voxels, affine = image_of(case_folders(phantom)[0])
    folder = tmp_path / "in"
    folder.mkdir()
    save_4d(folder, "good", voxels, affine)
    save_4d(folder, "three", voxels[..., :3], affine)
    cut = save_4d(folder, "truncated", voxels, affine)
    cut.write_bytes(cut.read_bytes()[:-1000])
    save_4d(folder, "zero", np.zeros_like(voxels), affine)
    save_4d(folder, "head", voxels + 7, affine)
    save_4d(folder, "thick", voxels, affine @ np.diag([1, 1, 4, 1.0]))
    save_4d(folder, "flat", (voxels != 0).astype(np.int16), affine)
    nowhere = nibabel.Nifti1Image(voxels, None)
    nowhere.header["pixdim"][1:4] = 1
    nibabel.save(nowhere, folder / "nowhere.nii.gz")
    (folder / "empty.nii.gz").write_bytes(b"")
    nans = voxels.astype(np.float32)
    nans[0, 0, 0, 0] = np.nan
    save_4d(folder, "nan", nans, affine)
    for name in MODALITIES[:3]:
        nibabel.save(nibabel.Nifti1Image(voxels[..., 0], affine), folder / f"lone_{name}.nii.gz")
    moved = affine.copy()
    moved[0, 3] += 9
    for name in MODALITIES:
        placed = nibabel.Nifti1Image(voxels[..., 0], moved if name == "t2" else affine)
        nibabel.save(placed, folder / f"grid_{name}.nii")
    (folder / "notes.txt").write_text("nothing")
    assert predict(bundle, folder, tmp_path / "out") == 1
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["good.png", "good_seg.nii.gz", "report.json"]
    printed = capsys.readouterr().out
    assert "1 of 12 cases segmented" in printed
    assert "left aside: notes.txt" in printed
    lines = {line.split(": ")[1]: line for line in printed.splitlines() if line.startswith("failed: ")}
    assert "3 channel(s), expected 4 (FLAIR, T1w, T1gd, T2w)" in lines["three"]
    assert "cannot be read as a volume" in lines["truncated"]
    assert "all voxels of FLAIR, T1w, T1gd, T2w are zero" in lines["zero"]
    assert "does not look skull-stripped" in lines["head"]
    assert "1 x 1 x 4 mm, expected 3 mm or less" in lines["thick"]
    assert "holds values that are NaN or infinite" in lines["nan"]
    assert "FLAIR, T1w, T1gd, T2w has one value in the whole brain" in lines["flat"]
    assert "its header says nothing about orientation" in lines["nowhere"]
    assert "cannot be read as a volume" in lines["empty"]
    assert "modalities lie on different grids" in lines["grid"]
    assert any("case lone has FLAIR" in line and "but no T2w" in line for line in printed.splitlines())
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert len(report["failed"]) == 11
    assert [case["case"] for case in report["cases"]] == ["good"]


def test_forced_results_say_so(bundle, phantom, tmp_path):
    voxels, affine = image_of(case_folders(phantom)[0])
    folder = tmp_path / "in"
    folder.mkdir()
    save_4d(folder, "head", voxels + 7, affine)
    assert predict(bundle, folder, tmp_path / "out", "--force") == 0
    (case,) = json.loads((tmp_path / "out" / "report.json").read_text())["cases"]
    assert "does not look skull-stripped" in case["forced"][0]
    written = nibabel.load(tmp_path / "out" / "head_seg.nii.gz")
    assert b"FORCED" in written.header["descrip"].item()


def test_volume_smaller_than_a_patch(bundle, tmp_path):
    voxels = np.zeros((7, 5, 9, 4), np.int16)
    voxels[2:6, 1:4, 2:8] = np.random.default_rng(0).integers(1, 900, (4, 3, 6, 4))
    path = save_4d(tmp_path, "tiny", voxels, np.diag([-1, -1, 1, 1.0]))
    slice_ = save_4d(tmp_path, "slice", np.pad(voxels[:, :, 4:5], ((9, 9), (9, 9), (0, 0), (0, 0))), np.eye(4))
    assert predict(bundle, slice_, tmp_path / "out_slice") == 0
    assert seg(tmp_path / "out_slice" / "slice_seg.nii.gz").shape == (25, 23, 1)
    for number, more in enumerate([(), ("--set", "window=[32,32,32]")]):
        assert predict(bundle, path, tmp_path / f"out{number}", *more) == 0
        assert seg(tmp_path / f"out{number}" / "tiny_seg.nii.gz").shape == (7, 5, 9)


def test_nothing_to_segment(bundle, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert predict(bundle, tmp_path / "empty", tmp_path / "out") == 2
    assert "no volume found" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_options_of_volumes_on_a_bundle_of_images(repository, bundle, tmp_path, capsys):
    folder = tmp_path / "kvasir"
    ignore = shutil.ignore_patterns("*.pt", "output", "data")
    shutil.copytree(repository / "bundles" / "pu_unet_kvasir", folder, ignore=ignore)
    (folder / "models").mkdir(exist_ok=True)
    torch.save(PUUNet(channels=(8, 16)).state_dict(), folder / "models" / "model.pt")
    small = ("--set", "channels=[8,16]")
    assert predict(folder, tmp_path, tmp_path / "out", *small, "--probabilities") == 2
    assert "--probabilities: the bundle" in capsys.readouterr().err
    assert predict(folder, tmp_path, tmp_path / "out", *small, "--force") == 2
    assert "has no key force" in capsys.readouterr().err


def test_runtimes_give_the_same_label_maps(bundle, phantom, tmp_path, capsys):
    pytest.importorskip("openvino")
    case = case_folders(phantom)[0]
    maps = {}
    for runtime in ("eager", "openvino", "auto"):
        output = tmp_path / runtime
        assert predict(bundle, case, output, "--runtime", runtime, "--device", "cpu") == 0
        report = json.loads((output / "report.json").read_text())
        assert report["cases"][0]["runtime"]["runtime"] == (
            "eager" if runtime == "eager" else "openvino"
        )  # float32, see the bundle
        assert report["cases"][0]["runtime"]["difference"] < 1e-3
        assert report["cases"][0]["window"] == "foreground"
        maps[runtime] = seg(output / report["cases"][0]["segmentation"])
    assert np.array_equal(maps["openvino"], maps["auto"])
    for label in (1, 2, 3):
        assert dice(maps["eager"] == label, maps["openvino"] == label) > 0.999
    assert predict(bundle, case, tmp_path / "short", "--runtime", "openvino", "--set", "memory_budget=4GB") == 2
    assert "memory_budget cannot be kept" in capsys.readouterr().err


def test_any_case_name_can_be_segmented(bundle, phantom, tmp_path):
    names = ["p$1_$2", "M\udcfcller", "a\nb", "100%_{x}^"]
    (tmp_path / "in").mkdir()
    voxels, affine = image_of(case_folders(phantom)[0])
    for name in names:
        nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "in" / "image.nii")
        (tmp_path / "in" / "image.nii").rename(tmp_path / "in" / f"{name}.nii")
    assert predict(bundle, tmp_path / "in", tmp_path / "out", "--runtime", "eager") == 0
    for name in names:
        assert seg(tmp_path / "out" / f"{name}_seg.nii.gz").shape == SHAPE
        assert (tmp_path / "out" / f"{name}.png").is_file()


def test_older_results_of_a_case_that_fails_are_named(bundle, phantom, tmp_path):
    (tmp_path / "in").mkdir()
    image = tmp_path / "in" / "P.1.nii"
    nibabel.save(nibabel.Nifti1Image(*image_of(case_folders(phantom)[0])), image)
    options = ("--runtime", "eager", "--probabilities")
    assert predict(bundle, image, tmp_path / "out", *options) == 0
    image.write_bytes(image.read_bytes()[:5000])
    assert predict(bundle, image, tmp_path / "out", *options) == 1
    (failure,) = json.loads((tmp_path / "out" / "report.json").read_text())["failed"]
    assert failure["error"].endswith("; of an earlier run there still is P.1.png, P.1_prob.nii.gz, P.1_seg.nii.gz")

"""Files that are damaged or unusual: every one is a clear error or a right result, and the others go on."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pu_unet_monai.__main__ import main
from pu_unet_monai.volumes import VOLUME_SUFFIXES
from tests.reliability.bad_images import bad_images, good_image
from tests.reliability.bad_itk_volumes import bad_itk_volumes
from tests.reliability.bad_volumes import AFFINE, bad_volumes, good_voxels
from tests.reliability.bundles import small_bundle
from tests.reliability.read_alone import read_alone
from tests.reliability.shown import shown
from tests.reliability.time_limit import at_most

MODALITIES = ("flair", "t1", "t1ce", "t2")


def predict(bundle: Path, source: Path, output: Path) -> dict[str, Any]:
    """Return the report of a prediction that went to its end."""
    with at_most(600):
        code = main(["predict", "--bundle", str(bundle), "--input", str(source), "--output", str(output)])
    report = json.loads((output / "report.json").read_text())
    assert code == (1 if report["failed"] else 0)
    assert not report["not_run"]
    return report


def assert_clear(errors: dict[str, str]) -> None:
    """Check that errors are one line of our own, which names the file and says what to do."""
    for name, error in errors.items():
        assert error.count("\n") == 0, name
        assert name in error, name
        assert any(word in error for word in (";", "expected", "Mend it")), (name, error)


def test_images(repository, tmp_path, record):
    bundle = small_bundle(repository, "pu_unet_kvasir", tmp_path / "bundle", image_size=32, amp=False)
    source, again = tmp_path / "in", tmp_path / "again"
    source.mkdir()
    again.mkdir()
    files = dict(bad_images())
    for name, content in files.items():
        (source / name).write_bytes(content)
    good_image().save(source / "good.png")
    report = predict(bundle, source, tmp_path / "out")
    errors = {failure["image"]: failure["error"] for failure in report["failed"]}
    right = {case["image"] for case in report["cases"]}
    assert errors.keys() | right == {*files, "good.png"}
    assert "good.png" in right
    assert_clear(errors)
    for name in right:  # is right what Pillow reads of the file
        with Image.open(source / name) as image:
            grey = image.mode.startswith("I")
            plain = (np.asarray(image) // 257).astype(np.uint8) if grey else shown(source / name, "RGB")
        Image.fromarray(plain).convert("RGB").save(again / f"{Path(name).stem}.png")
    assert not predict(bundle, again, tmp_path / "out_again")["failed"]
    for name in right:
        first, second = (
            np.asarray(Image.open(tmp_path / out / f"{Path(name).stem}.png")) for out in ("out", "out_again")
        )
        np.testing.assert_array_equal(first, second, err_msg=name)
    record("bad inputs", "images", {"tried": len(files), "errors": len(errors), "right": len(right) - 1})


def write_other_modalities(folder: Path, case: str) -> None:
    for seed, modality in enumerate(MODALITIES[1:], 1):
        nibabel.save(nibabel.Nifti1Image(good_voxels(seed), AFFINE), folder / f"{case}_{modality}.nii.gz")


def read_independently(path: Path) -> tuple[NDArray, NDArray]:
    """Return the voxels, channels last, and the affine."""
    if path.suffix in (".mha", ".nrrd"):
        voxels, affine = read_alone(path)
        return (voxels[0] if len(voxels) == 1 else np.moveaxis(voxels, 0, -1)), affine
    image = nibabel.load(path)
    return np.asarray(image.dataobj), image.affine


def test_volumes(repository, tmp_path, full, record):
    bundle = small_bundle(repository, "pu_unet_brats", tmp_path / "bundle", roi_size=[16, 16, 16], amp=False)
    source = tmp_path / "in"
    source.mkdir()
    good = nibabel.Nifti1Image(good_voxels(), AFFINE).to_bytes()
    bad = itertools.chain(bad_volumes(), bad_itk_volumes())
    files = {"good.nii": good, **dict(itertools.islice(bad, 0, None, 1 if full else 20))}
    cases = {f"case{number:03d}": name for number, name in enumerate(files)}
    for case, name in cases.items():
        suffix = next(suffix for suffix in VOLUME_SUFFIXES if name.endswith(suffix))
        (source / f"{case}_flair{suffix}").write_bytes(files[name])
        write_other_modalities(source, case)
    report = predict(bundle, source, tmp_path / "out")
    errors = {failure["image"]: failure["error"] for failure in report["failed"]}
    right = {case["case"] for case in report["cases"]}
    assert errors.keys() | right == cases.keys()
    assert "case000" in right
    assert_clear(errors)
    again = tmp_path / "again"
    again.mkdir()
    for case in right:  # is right what an independent reader reads of the file
        (path,) = source.glob(f"{case}_flair.*")
        voxels, affine = read_independently(path)
        # of its second version, whose affines are double as those of MHA and NRRD: a rounded one moves an outline
        nibabel.save(nibabel.Nifti2Image(voxels, affine, dtype=voxels.dtype), again / f"{case}_flair.nii")
        write_other_modalities(again, case)
    assert not predict(bundle, again, tmp_path / "out_again")["failed"]
    for case in right:
        first, second = (nibabel.load(tmp_path / out / f"{case}_seg.nii.gz") for out in ("out", "out_again"))
        image = nibabel.load(again / f"{case}_flair.nii")
        assert first.shape == image.shape[:3], cases[case]
        np.testing.assert_array_equal(first.affine, image.affine.astype(np.float32), err_msg=cases[case])
        np.testing.assert_array_equal(first.dataobj, second.dataobj, err_msg=cases[case])
    record("bad inputs", "volumes", {"tried": len(files) - 1, "errors": len(errors), "right": len(right) - 1})

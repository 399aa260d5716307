from __future__ import annotations

import filecmp
import json

import nibabel
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis

from data_prep import volume_phantom
from data_prep.volume_phantom_scene import EDEMA, ENHANCING, NON_ENHANCING, paint_head
from pu_unet_monai.data.modalities import MODALITIES

SHAPE = (30, 34, 26)
FLAIR, T1W, T1GD, T2W = range(4)


def paint(seed, shape=SHAPE, enhancing=True):
    return paint_head(np.random.default_rng([3, seed]), shape, enhancing)


@pytest.fixture(scope="module")
def heads():
    """Eight heads, one in four without enhancing tumour."""
    return [paint(seed, enhancing=seed % 4 != 0) for seed in range(8)]


def dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def best_threshold(image, mask):
    """Return the best Dice of any threshold on any modality, from above or below."""
    best = 0.0
    for channel in range(4):
        values = image[..., channel]
        inside = values > 0
        for threshold in np.percentile(values[inside], np.arange(2, 100, 4)):
            best = max(best, dice(values > threshold, mask), dice(inside & (values < threshold), mask))
    return best


def features(image):
    """Return each modality, normalised, at three scales, for every voxel of the head."""
    head = image[..., 0] > 0
    columns = []
    for channel in range(4):
        values = image[..., channel].astype(float)
        normal = (values - values[head].mean()) / values[head].std() * head
        columns += [gaussian_filter(normal, scale)[head] for scale in (0.7, 2, 4)]
    return np.stack(columns, axis=1)


def test_heads_look_skull_stripped(heads):
    for image, label in heads:
        assert image.dtype == np.int16
        assert image.shape == (*SHAPE, 4)
        assert label.shape == SHAPE
        head = image.any(axis=-1)
        assert 0.4 < 1 - head.mean() < 0.8
        assert image[head].min() > 0
        assert 1000 < image.max() < 3000
        assert not label[~head].any()


def test_the_tumour_has_nested_parts(heads):
    for number, (_, label) in enumerate(heads):
        assert set(np.unique(label)) - {0} == {NON_ENHANCING, EDEMA} | ({ENHANCING} if number % 4 else set())
        assert 0.002 < (label > 0).mean() < 0.1
        centre = np.argwhere(label > 0).mean(axis=0)
        inside_out = [part for part in (NON_ENHANCING, ENHANCING, EDEMA) if (label == part).any()]
        distances = [np.linalg.norm(np.argwhere(label == part) - centre, axis=1).mean() for part in inside_out]
        assert distances == sorted(distances)


def test_contrasts_are_those_of_mri(heads):
    for image, label in heads:
        healthy = image[image.any(axis=-1) & (label == 0)].mean(axis=0)
        edema, core = (image[label == part].mean(axis=0) for part in (EDEMA, NON_ENHANCING))
        assert edema[FLAIR] > 1.2 * healthy[FLAIR]
        assert edema[T2W] > 1.2 * healthy[T2W]
        assert core[T1W] < 0.8 * healthy[T1W]
        if (label == ENHANCING).any():
            rim = image[label == ENHANCING].mean(axis=0)
            assert rim[T1GD] > 1.3 * healthy[T1GD]
            assert rim[T1W] < 1.1 * healthy[T1W]


def test_a_threshold_is_not_enough_but_neighbourhoods_tell_the_parts(heads):
    classify = QuadraticDiscriminantAnalysis(reg_param=0.01)
    known = [
        np.concatenate(part) for part in zip(*[(features(i), lab[i[..., 0] > 0]) for i, lab in heads], strict=True)
    ]
    classify.fit(*known)
    scores = []
    for image, label in [paint(seed) for seed in range(20, 28)]:
        found = np.zeros_like(label)
        found[image[..., 0] > 0] = classify.predict(features(image))
        scores.append(
            [
                (dice(found > 0, label > 0), best_threshold(image, label > 0)),
                (dice(found == ENHANCING, label == ENHANCING), best_threshold(image, label == ENHANCING)),
            ]
        )
    (whole, whole_by_threshold), (enhancing, enhancing_by_threshold) = np.mean(scores, axis=0)
    assert whole_by_threshold < 0.7
    assert enhancing_by_threshold < 0.5
    assert whole > whole_by_threshold + 0.05
    assert enhancing > enhancing_by_threshold + 0.15


def test_both_layouts_hold_the_same_voxels(tmp_path):
    for layout in ("decathlon", "brats"):
        volume_phantom.make(tmp_path / layout, layout, number=4, shape=(16, 18, 17), seed=5)
    content = json.loads((tmp_path / "decathlon" / "dataset.json").read_text())
    assert content["modality"] == {"0": "FLAIR", "1": "T1w", "2": "T1gd", "3": "T2w"}
    assert len(content["training"]) == 4
    without = 0
    for entry in content["training"]:
        image, label = (nibabel.load(tmp_path / "decathlon" / entry[key]) for key in ("image", "label"))
        name = label.get_filename().split("/")[-1].removesuffix(".nii.gz")
        folder = tmp_path / "brats" / name
        others = [nibabel.load(folder / f"{name}_{ending}.nii.gz") for ending in ("flair", "t1", "t1ce", "t2")]
        np.testing.assert_array_equal(image.dataobj, np.stack([other.dataobj for other in others], axis=-1))
        other_label = nibabel.load(folder / f"{name}_seg.nii.gz")
        values = np.asarray(label.dataobj)
        np.testing.assert_array_equal(other_label.dataobj, np.array([0, 2, 1, 4])[values])
        without += 3 not in values
        for volume in (image, label, other_label, *others):
            assert volume.shape[:3] == (16, 18, 17)
            np.testing.assert_array_equal(volume.affine, [[-1, 0, 0, 0], [0, -1, 0, 17], [0, 0, 1, 0], [0, 0, 0, 1]])
            assert volume.header.get_xyzt_units()[0] == "mm"
    assert without == 1


@pytest.mark.parametrize("layout", volume_phantom.LAYOUTS)
def test_the_same_seed_gives_the_same_files(layout, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        volume_phantom.make(tmp_path / name, layout, number=2, shape=(16, 16, 16), seed=seed)
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*")]
    names = sorted(path for path in files if path.name.endswith((".nii.gz", "0008.dcm")))  # of DICOM the middle slices
    assert names
    assert filecmp.cmpfiles(tmp_path / "a", tmp_path / "b", names, shallow=False)[0] == names
    assert filecmp.cmpfiles(tmp_path / "a", tmp_path / "c", names, shallow=False)[1] == names


def test_the_command_line(tmp_path, capsys):
    output = tmp_path / "p"
    assert volume_phantom.main(["--output", str(output), "--layout", "brats", "--number", "1", "--size", "28"]) == 0
    assert nibabel.load(output / "phantom_001" / "phantom_001_t1ce.nii.gz").shape == (24, 28, 20)
    said = capsys.readouterr().out
    assert f"wrote 1 synthetic cases of 24x28x20 voxels to {output}" in said
    assert said.endswith(f"  python -m data_prep.brats --source {output} --output {output}.json\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output", "full"], "full: exists and is not an empty folder; choose another one or remove it"),
        (["--output", "none/p"], "none does not exist; create it first"),
        (["--output", "p", "--number", "0"], "--number 0: expected at least 1 case"),
        (["--output", "p", "--size", "23"], "--size 23: expected at least 24 voxels"),
    ],
)
def test_wrong_options(tmp_path, monkeypatch, fails, options, message):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    assert message in fails(volume_phantom.main, *options, folder=tmp_path)


def test_the_smallest_size(tmp_path):
    assert volume_phantom.main(["--output", str(tmp_path / "p"), "--number", "1", "--size", "24"]) == 0


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    painted = []

    def stop(rng, shape, enhancing):
        painted.append(shape)
        if len(painted) > 1:
            raise KeyboardInterrupt
        return paint_head(rng, shape, enhancing)

    monkeypatch.setattr(volume_phantom, "paint_head", stop)
    with pytest.raises(KeyboardInterrupt):
        volume_phantom.make(tmp_path / "p", number=2, shape=(16, 16, 16))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [(16, 16, 16), (16, 40, 24)])
def test_small_and_long_heads_have_all_parts(shape, seed):
    image, label = paint(seed, shape)
    assert set(np.unique(label)) == {0, NON_ENHANCING, EDEMA, ENHANCING}
    assert (image == 0).mean() > 0.4


def test_dicom_layout_holds_the_same_voxels(tmp_path):
    pytest.importorskip("highdicom", reason="highdicom is not installed (extra dicom)")
    from pu_unet_monai.dicom.read import read_series
    from pu_unet_monai.dicom.study import find_studies

    volume_phantom.make(tmp_path / "dicom", "dicom", number=2, shape=(24, 28, 20))
    volume_phantom.make(tmp_path / "brats", "brats", number=2, shape=(24, 28, 20))
    studies, problems, aside = find_studies(tmp_path / "dicom", MODALITIES, {}, identified=True)
    assert (problems, aside) == ([], [])
    assert [study.name for study in studies] == ["phantom_001_20260101", "phantom_002_20260101"]
    for modality, ending in zip(MODALITIES, ("flair", "t1", "t1ce", "t2"), strict=True):
        volume = read_series(studies[1].series[modality]).to_tensor()
        expected = nibabel.load(tmp_path / "brats" / "phantom_002" / f"phantom_002_{ending}.nii.gz")
        assert np.array_equal(volume[0].numpy(), np.asarray(expected.dataobj))
        assert np.allclose(volume.affine, expected.affine)

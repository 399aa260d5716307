"""Label maps to regions and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from monai.data import MetaTensor
from monai.transforms import LoadImage

from pu_unet_monai.data.label_numbering import NUMBERINGS
from pu_unet_monai.errors import UserError
from pu_unet_monai.transforms import LabelToRegions, LabelToRegionsd, RegionsToLabel, RegionsToLabeld

# value: TC, WT, ET
MEANING = {
    "brats": {0: (0, 0, 0), 1: (1, 1, 0), 2: (0, 1, 0), 3: (1, 1, 1), 4: (1, 1, 1)},
    "decathlon": {0: (0, 0, 0), 1: (0, 1, 0), 2: (1, 1, 0), 3: (1, 1, 1)},
}
CASES = [(numbering, value) for numbering, values in MEANING.items() for value in values]
SHAPES = arrays.array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=5)
MAPS = SHAPES.flatmap(lambda shape: arrays.arrays(np.uint8, shape, elements=st.integers(0, 3)))


def volume(values: list[int], dtype: torch.dtype = torch.uint8) -> MetaTensor:
    label = torch.tensor(values, dtype=dtype).reshape(1, -1, 1, 1)
    meta = {"filename_or_obj": "labelsTr/case_01.nii.gz"}
    return MetaTensor(label, torch.diag(torch.tensor([2.0, 3, 4, 1])), meta, [{"class": "Spacing"}])


@pytest.mark.parametrize(("numbering", "value"), CASES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.float32], ids=str)
def test_regions_of_every_value(numbering, value, dtype):
    regions = LabelToRegions(numbering)(volume([0, value], dtype))
    assert regions.dtype == torch.uint8
    assert regions.shape == (3, 2, 1, 1)
    assert tuple(regions[:, 1, 0, 0].tolist()) == MEANING[numbering][value]
    assert regions[:, 0].sum() == 0


@pytest.mark.parametrize("transform", [LabelToRegions("brats"), RegionsToLabel()], ids=lambda t: type(t).__name__)
def test_metadata_is_kept(transform):
    data = volume([0, 1]).repeat(3, 1, 1, 1) if isinstance(transform, RegionsToLabel) else volume([0, 1])
    result = transform(data)
    assert isinstance(result, MetaTensor)
    assert torch.equal(result.affine, data.affine)
    assert result.meta["filename_or_obj"] == "labelsTr/case_01.nii.gz"
    assert result.applied_operations == data.applied_operations != []


def test_array_stays_an_array_and_a_tensor_a_tensor():
    label = np.array([[[0, 1]], [[2, 3]]], np.int16)
    for data in (label, label[None], torch.as_tensor(label)):
        regions = LabelToRegions("brats")(data)
        assert type(regions) is type(data)
        assert regions.shape == (3, 2, 1, 2)
        back = RegionsToLabel()(regions)
        assert type(back) is type(data)
        assert np.array_equal(np.asarray(back)[0], label)
    assert LabelToRegions("brats")(torch.zeros(1, 4, 5)).shape == (3, 4, 5), "a slice with its channel"


@pytest.mark.parametrize("numbering", NUMBERINGS)
@settings(max_examples=25, deadline=None)
@given(label=MAPS)
def test_round_trip_is_exact(numbering, label):
    back = RegionsToLabel(numbering)(LabelToRegions(numbering)(label))
    assert back.dtype == np.uint8
    assert np.array_equal(back[0], label)


@settings(max_examples=25, deadline=None)
@given(label=MAPS)
def test_both_numberings_of_one_tumour_give_the_same_regions(label):
    renumbered = np.array([0, 2, 1, 4], np.uint8)[label]  # decathlon as BraTS 2021 has it
    regions = LabelToRegions("decathlon")(label)
    assert np.array_equal(regions, LabelToRegions("brats")(renumbered))
    assert np.array_equal(RegionsToLabel()(regions)[0], np.where(renumbered == 4, 3, renumbered))


def test_regions_that_contradict_each_other_are_painted_from_the_outside_in():
    regions = torch.tensor([[0, 0, 1, 0], [1, 0, 0, 1], [0, 1, 0, 1]]).reshape(3, 4, 1, 1)
    assert RegionsToLabel()(regions).flatten().tolist() == [2, 3, 1, 3]
    assert RegionsToLabel("decathlon")(regions.bool()).flatten().tolist() == [1, 3, 2, 3]


@pytest.mark.parametrize("value", [4, 7, 255, 1.5, -1, float("nan")])
def test_value_outside_the_numbering_is_refused(value):
    label = volume([0, 1, 2, value], torch.float32)
    with pytest.raises(UserError) as error:
        LabelToRegions("decathlon")(label)
    message = str(error.value)
    assert message.startswith("labelsTr/case_01.nii.gz: holds the values")
    assert f"{value:g}" in message
    assert "expected 0, 1, 2, 3 (label_numbering 'decathlon'); set label_numbering" in message


def test_regions_of_another_number_are_refused():
    with pytest.raises(ValueError, match="expected the channels TC, WT, ET"):
        RegionsToLabel()(torch.zeros(2, 4, 4, 4))


@pytest.mark.parametrize("make", [LabelToRegions, RegionsToLabel, lambda n: LabelToRegionsd("label", n)])
def test_unknown_numbering_is_refused_at_once(make):
    with pytest.raises(UserError, match="label_numbering: 'binary' is not known"):
        make("binary")


def test_dictionary_forms():
    item = {"label": volume([0, 1, 2, 3]), "numbering": "decathlon", "image": 5}
    by_item = LabelToRegionsd("label")(item)
    assert by_item["label"][1:].flatten(1).tolist() == [[0, 1, 1, 1], [0, 0, 0, 1]]
    assert by_item["label"][0].flatten().tolist() == [0, 0, 1, 1]
    assert by_item["image"] == 5
    fixed = LabelToRegionsd("label", "brats")(item)
    assert fixed["label"][0].flatten().tolist() == [0, 1, 0, 1]
    assert RegionsToLabeld("label", "decathlon")(by_item)["label"].flatten().tolist() == [0, 1, 2, 3]
    assert RegionsToLabeld("label")(by_item)["label"].flatten().tolist() == [0, 2, 1, 3]
    assert item["label"].shape == (1, 4, 1, 1), "the item was changed"


def test_item_without_numbering_is_refused():
    with pytest.raises(UserError, match="numbering: missing"):
        LabelToRegionsd("label")({"label": volume([0])})


def test_item_without_numbering_may_have_a_default():
    to_regions = LabelToRegionsd("label", default="brats")
    expected = LabelToRegions("brats")(volume([0, 1, 2, 3]))
    assert torch.equal(to_regions({"label": volume([0, 1, 2, 3])})["label"], expected)
    said = to_regions({"label": volume([0, 1, 2, 3]), "numbering": "decathlon"})
    assert torch.equal(said["label"], LabelToRegions("decathlon")(volume([0, 1, 2, 3])))
    with pytest.raises(UserError, match="'binary' is not known"):
        LabelToRegionsd("label", default="binary")


@pytest.mark.real_data
def test_one_patient_in_both_layouts_has_the_same_regions(data_dir):
    decathlon = LoadImage(image_only=True)(data_dir / "Task01_BrainTumour/labelsTr/BraTS2021_01476.nii.gz")
    brats = LoadImage(image_only=True)(data_dir / "BraTS2021/BraTS2021_01476/BraTS2021_01476_seg.nii.gz")
    regions = LabelToRegions("decathlon")(decathlon)
    assert torch.equal(regions, LabelToRegions("brats")(brats))
    assert regions.flatten(1).any(1).all()
    assert torch.equal(RegionsToLabel("decathlon")(regions)[0], decathlon.to(torch.uint8))

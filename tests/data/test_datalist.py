"""Reading datalists and listing images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pu_unet_monai.data import list_images, load_datalist
from pu_unet_monai.errors import UserError


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("a.png", "b.png", "m1.png", "m2.png"):
        (tmp_path / name).touch()
    return tmp_path


def write(folder: Path, **content: object) -> Path:
    path = folder / "datalist.json"
    path.write_text(json.dumps(content))
    return path


def test_paths_get_the_folder_before_them(folder):
    entries = [{"image": "a.png", "label": "m1.png", "group": 3}, {"image": "b.png", "label": ["m1.png", "m2.png"]}]
    datalist = write(folder, training=entries)
    assert load_datalist(datalist, folder, "training") == [
        {"image": f"{folder}/a.png", "label": f"{folder}/m1.png", "group": 3},
        {"image": f"{folder}/b.png", "label": [f"{folder}/m1.png", f"{folder}/m2.png"]},
    ]


def test_classes_can_be_left_out(folder):
    entries = [
        {"image": "a.png", "label": "m1.png", "class": "benign"},
        {"image": "b.png", "label": "m2.png", "class": "normal"},
    ]
    datalist = write(folder, test=entries)
    assert len(load_datalist(datalist, folder, "test")) == 2
    (left,) = load_datalist(datalist, folder, "test", exclude_classes=["normal"])
    assert left["class"] == "benign"
    assert load_datalist(datalist, folder, "test", exclude_classes="normal") == [left]
    with pytest.raises(UserError, match=r"has no class norml; it has \['benign', 'normal'\]"):
        load_datalist(datalist, folder, "test", exclude_classes=["norml"])
    with pytest.raises(UserError, match=r'no entry under "test" \(exclude_classes: \[\'benign\', \'normal\'\]\)'):
        load_datalist(datalist, folder, "test", exclude_classes=["benign", "normal"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "expected an object, found a list"),
        ('{"test": []}', 'expected a list of .* under "training"'),
        ('{"training": ["a.png"]}', 'expected a list of .* under "training"'),
        ('{"training": [{"image": "a.png"}]}', 'expected a list of .* under "training"'),
        ('{"training": [{"image": "a.png", "label": null}]}', 'expected a list of .* under "training"'),
        ('{"training": [{"image": "a.png", "label": []}]}', 'expected a list of .* under "training"'),
        ('{"training": [{"image": "a.png", "label": "m1.png"}], "test": [1]}', 'expected a list of .* under "test"'),
        ('{"training": []}', 'no entry under "training"'),
        ('{"training": [{"image": "c.png", "label": "d.png"}]}', "2 files of .* are not there: c.png, d.png"),
        (
            '{"training": [{"image": "../a.png", "label": "m1.png"}, {"image": "a.png", "label": "/etc/passwd"}]}',
            "stay inside .* ../a.png, /etc/passwd",
        ),
        (
            '{"training": [{"image": "a.png", "label": "m1.png"}], "test": [{"image": "x.png", "label": "m1.png"}]}',
            "1 files of .* are not there: x.png",
        ),
    ],
)
def test_bad_datalists(folder, content, message):
    path = folder / "datalist.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        load_datalist(path, folder, "training")


def test_missing_files_are_counted_not_all_named(folder):
    datalist = write(folder, training=[{"image": f"{i}.png", "label": "m1.png"} for i in range(50)])
    with pytest.raises(UserError, match=r"50 files .*: 0\.png, .*19\.png and 30 more"):
        load_datalist(datalist, folder, "training")


def test_images_of_a_folder(tmp_path):
    for name in ("b.JPG", "a.png", "a_seg.png", "a_overlay.png", "b_segment.png", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    images = [{"image": f"{tmp_path}/{name}"} for name in ("a.png", "b.JPG", "b_segment.png")]
    assert list_images(tmp_path) == images


def test_numbering_has_to_be_said_where_labels_have_one(folder):
    entries = [{"image": "a.png", "label": "m1.png"}]
    with pytest.raises(UserError, match="no label_numbering, expected 'brats' or 'decathlon'"):
        load_datalist(write(folder, training=entries), folder, "training", numbered=True)
    datalist = write(folder, training=entries, label_numbering="decathlon")
    assert load_datalist(datalist, folder, "training", numbered=True)[0]["numbering"] == "decathlon"


def test_all_that_transforms_would_stumble_over_is_named_at_once(folder):
    entry = {"image": "a.png", "label": "m1.png"}
    training = [entry | {"channel_order": [0, 1, 2, 9]}, entry, entry | {"channel_order": "0123"}]
    datalist = write(folder, label_numbering=["brats"], training=training, test=[entry | {"numbering": {}}])
    with pytest.raises(UserError) as raised:
        load_datalist(datalist, folder, "training")
    assert str(raised.value).startswith(f"{datalist}: label_numbering ['brats'] (expected 'binary', 'brats', 'decath")
    for found in (
        "training[0] channel_order [0, 1, 2, 9] (",
        "training[2] channel_order '0123' (",
        "test[0] numbering {}",
    ):
        assert found in str(raised.value)
    assert "training[1]" not in str(raised.value)


@pytest.mark.parametrize("order", [[0, 1, 2], [0, 1, 2, 2], [0, 1, 2, 3, 4], [0.0, 1.0, 2.0, 3.0], [0, True, 2, 3], 3])
def test_orders_of_channels_that_are_none(folder, order):
    datalist = write(folder, training=[{"image": "a.png", "label": "m1.png", "channel_order": order}])
    with pytest.raises(UserError, match=r"training\[0\] channel_order .* \(expected each of 0 to 3 once\)"):
        load_datalist(datalist, folder, "training")


@pytest.mark.parametrize("order", [[3, 1, 2, 0], None])
def test_orders_of_channels(folder, order):
    datalist = write(folder, training=[{"image": "a.png", "label": "m1.png", "channel_order": order}])
    assert load_datalist(datalist, folder, "training")[0]["channel_order"] == order

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from data_prep.busi import SAME_SCENE as BUSI
from data_prep.cases import Case, count_groups
from data_prep.duplicates import with_groups
from data_prep.isic import SAME_SCENE as ISIC
from data_prep.kvasir import SAME_SCENE as KVASIR
from data_prep.phantom_scene import COLON, SKIN, ULTRASOUND, paint


def brighter(image):
    return image.point(lambda value: min(255, int(1.2 * value + 15)))


def cropped(image):
    return image.crop((4, 3, 93, 95))


def moved(image):
    return Image.fromarray(np.roll(np.asarray(image), (3, -2), axis=(0, 1)))


def with_callipers(image):
    marked = image.copy()
    ImageDraw.Draw(marked).line([(30, 40), (60, 55)], fill="white")
    ImageDraw.Draw(marked).text((5, 80), "RT 3", fill="white")
    return marked


def scenes(tmp_path, look, number):
    cases = []
    for index in range(number):
        picture, _ = paint(np.random.default_rng([5, index]), 96, look, 1)
        cases.append(Case(tmp_path / f"{index:02d}.png", (tmp_path / "m.png",)))
        Image.fromarray(picture).save(cases[-1].image)
    return cases


@pytest.mark.parametrize("change", [brighter, cropped, moved, with_callipers])
@pytest.mark.parametrize(("look", "thresholds"), [(ULTRASOUND, BUSI), (COLON, KVASIR)], ids=["busi", "kvasir"])
def test_a_changed_copy_joins_its_original(tmp_path, look, thresholds, change):
    cases = scenes(tmp_path, look, 6)
    with Image.open(cases[2].image) as image:
        change(image).save(tmp_path / "copy.png")
    grouped = with_groups([*cases, Case(tmp_path / "copy.png", cases[2].labels)], thresholds)
    assert [case.group for case in grouped] == ["00", "01", "02", "03", "04", "05", "02"]
    assert count_groups(grouped) == {"groups_of_several_images": 1, "images_in_these_groups": 2}


@pytest.mark.parametrize(("look", "thresholds"), [(ULTRASOUND, BUSI), (COLON, KVASIR), (SKIN, ISIC)])
def test_different_scenes_stay_apart(tmp_path, look, thresholds):
    grouped = with_groups(scenes(tmp_path, look, 60), thresholds)
    assert count_groups(grouped) == {"groups_of_several_images": 0, "images_in_these_groups": 0}


def test_plain_images_do_not_divide_by_zero(tmp_path):
    for name in "ab":
        Image.new("L", (40, 40), 7).save(tmp_path / f"{name}.png")
    grouped = with_groups([Case(tmp_path / f"{name}.png", ()) for name in "ab"], BUSI)
    assert [case.group for case in grouped] == ["a", "b"]

"""The schema of metadata that is in the package."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pu_unet_monai.inspection.completeness import SCHEMA, idle_keys


def test_schema_is_that_of_monai():
    published = os.environ.get("PU_UNET_META_SCHEMA")
    if not published:
        pytest.skip("PU_UNET_META_SCHEMA, the file that MONAI publishes, is not set")
    assert json.loads(SCHEMA.read_text()) == json.loads(Path(published).read_text())


@pytest.mark.parametrize(
    ("extra", "idle"),
    [
        ({}, []),
        ({"imagesize": 64}, ["imagesize"]),
        ({"image": 64, "size": [1, 2]}, ["image", "size"]),
        ({"width": 64, "other": "$@width + 1"}, []),
        ({"width": 64, "other": {"_target_": "x", "width": "@width"}}, []),
        ({"imports": ["$import monai"], "run": ["$print(1)"]}, []),
    ],
)
def test_keys_that_nothing_asks_for(extra, idle):
    config = {"image_size": 64, "resize": {"_target_": "monai.transforms.Resize", "spatial_size": "@image_size"}}
    assert idle_keys(config | extra, [config | extra, {"elsewhere": "@else"}]) == idle

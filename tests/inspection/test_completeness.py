"""The schema of metadata that is in the package."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pu_unet_monai.inspection.completeness import SCHEMA


def test_schema_is_that_of_monai():
    published = os.environ.get("PU_UNET_META_SCHEMA")
    if not published:
        pytest.skip("PU_UNET_META_SCHEMA, the file that MONAI publishes, is not set")
    assert json.loads(SCHEMA.read_text()) == json.loads(Path(published).read_text())

"""A final name never holds half a file."""

from __future__ import annotations

import pytest

from pu_unet_monai.files import atomic_path


def test_appears_when_complete(tmp_path):
    target = tmp_path / "new" / "report.json"
    with atomic_path(target) as path:
        path.write_text("whole")
        assert not target.exists()
        assert path.suffix == ".json"
    assert [p.name for p in target.parent.iterdir()] == ["report.json"]
    assert target.read_text() == "whole"


def test_failure_leaves_what_was_there(tmp_path):
    target = tmp_path / "report.json"
    target.write_text("earlier")

    def interrupted() -> None:
        with atomic_path(target) as path:
            path.write_text("ha")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [target]

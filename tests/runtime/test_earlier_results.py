"""Results of other weights in a folder are named before they are replaced."""

from __future__ import annotations

import json

import pytest

from pu_unet_monai.runtime.earlier_results import warn_of_other_weights


@pytest.mark.parametrize(
    ("report", "warned"),
    [
        ({"weights_sha256": "aaaaaaaaaa"}, True),
        ({"weights_sha256": "bbbbbbbbbb"}, False),
        ({"made_with": {"weights (SHA-256)": "aaaaaaaaaa"}}, True),
        ({"made_with": {"weights (SHA-256)": "bbbbbbbbbb"}}, False),
        ({"made_with": "somebody"}, False),
        ([], False),
        (None, False),
    ],
)
def test_other_weights(tmp_path, capsys, report, warned):
    if report is not None:
        (tmp_path / "report.json").write_text(json.dumps(report))
    warn_of_other_weights(tmp_path, "bbbbbbbbbb")
    said = capsys.readouterr().out
    assert ("holds results of other weights (aaaaaaaa, now bbbbbbbb)" in said) == warned

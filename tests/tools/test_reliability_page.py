"""The page on reliability is made of the figures that are beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pu_unet_monai.errors import UserError
from tools import reliability_page
from tools.reliability_page import _ROWS, DOCS, page

FIGURES = {
    "machine": {"cores": 2, "processor": "a processor", "torch": "2", "monai": "1"},
    "kills": {name: {"kills": 20, "trainings": 7} for name in _ROWS["kills"]},
    "faults": {name: {"tried": 3, "said": "error: a | b"} for name in _ROWS["faults"]},
    "bad inputs": {name: {"tried": 10, "errors": 7, "right": 3} for name in _ROWS["bad inputs"]},
    "load": {
        "images": {"cases": 1000, "growth": 0.0123, "compared": 50},
        "volumes": {"cases": 200, "growth": 0.0, "compared": 5},
        "epochs": {"epochs": 400, "growth": -0.01},
    },
}


def test_tables() -> None:
    text = page(FIGURES)
    assert "| pu_unet_kvasir | 20 | 7 |" in text
    assert "| disk full while training | 3 | `error: a \\| b` |" in text
    number = len(_ROWS["bad inputs"])
    assert f"| all | {10 * number} | {7 * number} | {3 * number} |" in text
    assert "| images | 1000 | +1.2% | 50 |" in text
    assert "| epochs | 400 | -1.0% | - |" in text
    assert "2 cores of a processor" in text


def test_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "figures.json").write_text(json.dumps(FIGURES))
    arguments = ["--figures", str(tmp_path / "figures.json"), "--output", str(tmp_path / "reliability")]
    assert reliability_page.main(arguments) == 0
    assert (tmp_path / "reliability.md").read_text() == page(FIGURES) + "\n"
    (tmp_path / "figures.json").write_text(json.dumps(FIGURES | {"load": {}, "kills": {}}))
    assert reliability_page.main(arguments) == 2
    assert "no figures of kills, load: run make test-all" in capsys.readouterr().err


@pytest.mark.parametrize("part", _ROWS)
def test_every_row_is_needed(part: str) -> None:
    for row in _ROWS[part]:
        rest = {name: figure for name, figure in FIGURES[part].items() if name != row}
        with pytest.raises(UserError, match=f"no figures of {re.escape(f'{part}: {row}')}: run make test-all"):
            page(FIGURES | {part: rest})


def test_page_is_that_of_its_figures() -> None:
    figures = DOCS / "reliability.json"
    if not figures.is_file():
        pytest.skip("the full tests have left no figures yet")
    assert figures.with_suffix(".md").read_text() == page(json.loads(figures.read_text())) + "\n"

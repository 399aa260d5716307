from __future__ import annotations

import json

from pu_unet_monai.evaluation.tables import markdown_table, write_results


def test_results_as_json_and_text(tmp_path):
    text = markdown_table(["side", "s"], [["a", "1"], ["b", "2"]])
    assert text == "| side | s |\n| --- | --- |\n| a | 1 |\n| b | 2 |"
    write_results({"rounds": 2}, text, tmp_path / "found")
    assert json.loads((tmp_path / "found.json").read_text()) == {"rounds": 2}
    assert (tmp_path / "found.md").read_text() == text + "\n"


def test_what_would_break_a_table_is_escaped():
    assert markdown_table(["case"], [["a|b\nc"]]).splitlines()[-1] == "| a\\|b c |"

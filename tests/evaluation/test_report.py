from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from pu_unet_monai.evaluation.pictures import PREDICTION, TRUTH, Example, outlines
from pu_unet_monai.evaluation.report import Evaluation, write_report

HOSTILE = '<script>alert("x")</script>'
CHROMIUM = shutil.which("chromium")


def example(name: str) -> Example:
    image, truth, prediction = np.full((40, 60, 3), 90, np.uint8), np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    truth[5:20, 5:20] = prediction[10:30, 30:50] = True
    return Example(name, image, truth, prediction)


@pytest.fixture
def evaluation() -> Evaluation:
    scores = {f"case {number:02d}": f"{number / 20:.2f}" for number in range(20)} | {HOSTILE: "0.01", "empty": ""}
    rows = [{"case": case, "split": "test", "seed": "0", "dice": score} for case, score in scores.items()]
    rows[-1]["false_positive_rate"] = "1.0"
    epochs = [{"epoch": str(e), "loss": f"{1 / e}", "dice": f"{1 - 1 / e}"} for e in range(1, 5)]
    return Evaluation("a bundle", rows, {case: example(case) for case in scores}, epochs, {"weights": "abc & def"})


def test_failures_are_low_scores_and_false_alarms_worst_first(evaluation):
    failed = evaluation.failed
    assert list(failed)[:3] == ["case 00", HOSTILE, "case 01"]
    assert list(failed)[-2:] == ["case 09", "empty"]
    assert (failed["case 09"], failed["empty"]) == ("dice 0.450", "a lesion seen where none is")
    assert len(failed) == 12


def test_a_region_that_is_seen_where_none_is_counts_as_a_failure():
    row = {"dice_WT": "0.9", "dice_ET": "", "false_positive_rate_WT": "", "false_positive_rate_ET": "1.0"}
    rows = [{"case": "a", **row}, {"case": "b", **row, "dice_WT": "0.1"}, {"case": "c", "dice_WT": "0.9"}]
    assert Evaluation("a bundle", rows, {}, [], {}).failed == {
        "b": "mean dice of the regions 0.100; ET seen where none is",
        "a": "ET seen where none is",
    }


def test_files_say_the_same(evaluation, tmp_path):
    write_report(evaluation, tmp_path)
    results = json.loads((tmp_path / "report.json").read_text())
    assert results["scores"]["dice"]["cases"] == 21
    assert results["failed"] == evaluation.failed
    mean = f"{results['scores']['dice']['mean']:.3f}"
    for name in ("report.md", "report.html"):
        text = (tmp_path / name).read_text()
        assert mean in text
        assert "Failures: 12 of 22 cases" in text
        assert "Not a medical device" in text


def test_html_needs_nothing_else_and_runs_nothing(evaluation, tmp_path):
    write_report(evaluation, tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "abc &amp; def" in text
    sources = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert len(sources) == 2 + 12 + 3 * 8  # charts, failures, best, median and worst
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"url\(|@import|http", re.sub(r"base64,[^\"]*", "", text))
    picture = next(source for source in sources if "jpeg" in source)
    with Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))) as image:
        assert image.size == (60, 40)


def test_outlines():
    drawn = outlines(example("a"))
    assert tuple(drawn[5, 10]) == TRUTH
    assert tuple(drawn[10, 40]) == PREDICTION
    assert tuple(drawn[12, 12]) == (90, 90, 90)


def test_without_pictures_and_epochs(evaluation, tmp_path):
    write_report(Evaluation("a bundle", evaluation.rows, {}, [], {}), tmp_path)
    assert (tmp_path / "report.html").read_text().count("<img") == 1


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (tests/install_debian_packages.sh)")
def test_a_browser_shows_all_pictures(evaluation, tmp_path):
    write_report(evaluation, tmp_path)
    page = (tmp_path / "report.html").read_text()
    count = "<script>onload = () => document.title = [...document.images].filter(i => i.naturalWidth).length</script>"
    (tmp_path / "counted.html").write_text(page.replace("</body>", f"{count}</body>"))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    options += ["--disable-sync", "--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [CHROMIUM, *options, "--virtual-time-budget=5000", "--dump-dom", f"file://{tmp_path / 'counted.html'}"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert f"<title>{page.count('<img')}</title>" in run.stdout, run.stderr


def test_cases_of_several_regions_are_ranked_by_their_mean(tmp_path):
    rows = [{"case": "a", "dice_TC": "0.2", "dice_WT": "0.4"}, {"case": "b", "dice_TC": "0.9", "dice_WT": "0.7"}]
    evaluation = Evaluation("heads", rows, {}, [], {})
    assert evaluation.failed == {"a": "mean dice of the regions 0.300"}

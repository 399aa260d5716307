"""Misspelled overrides are refused."""

from __future__ import annotations

import json
import sys

import pytest

from pu_unet_monai.config_keys import check_command_line, check_keys, parse_settings
from pu_unet_monai.errors import UserError

KNOWN = ["imports", "placement", "train", "_meta_"]


def test_keys_that_exist_pass():
    check_keys(["placement", "train#trainer#amp", "+train#handlers", "~train#sampler"], KNOWN, "train.json")


def test_all_others_are_named_with_the_nearest():
    message = r"train\.json: has no key placment \(did you mean placement\?\), zzz; it has imports, placement, train\."
    with pytest.raises(UserError, match=message):
        check_keys(["placment", "train", "zzz"], KNOWN, "train.json")


def test_settings_in_json_or_python():
    settings = ["amp=False", "force=true", "memory_budget=2GB", "roi_size=[96, 96, 96]", "window=None", "x=a=b", "y="]
    assert parse_settings(settings) == {
        "amp": False,
        "force": True,
        "memory_budget": "2GB",
        "roi_size": [96, 96, 96],
        "window": None,
        "x": "a=b",
        "y": "",
    }


@pytest.mark.parametrize("form", ["{}", "['{}']"])
@pytest.mark.parametrize("override", [["--placment", "none"], ["--placment=none"]])
def test_command_line_of_monai_bundle(tmp_path, monkeypatch, form, override):
    config = tmp_path / "train.json"
    config.write_text(json.dumps({"placement": "all", "train": {}}))
    arguments = ["run", "training", "--config_file", form.format(config), "--train#amp", "True", *override]
    monkeypatch.setattr(sys, "argv", ["/env/lib/monai/bundle/__main__.py", *arguments])
    with pytest.raises(UserError, match="has no key placment"):
        check_command_line()
    monkeypatch.setattr(sys, "argv", ["/env/bin/pytest", *arguments])
    check_command_line()


def test_what_tracking_adds_is_known_with_tracking_alone(tmp_path, monkeypatch):
    config = tmp_path / "train.json"
    config.write_text(json.dumps({"placement": "all"}))
    arguments = ["/env/lib/monai/bundle/__main__.py", "run", "--config_file", str(config), "--run_name", "first"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(UserError, match="has no key run_name"):
        check_command_line()
    monkeypatch.setattr(sys, "argv", [*arguments, "--tracking", "mlflow", "--tracking_uri=sqlite:///runs.db"])
    check_command_line()
    monkeypatch.setattr(sys, "argv", [*arguments, "--tracking", "mlflow", "--run_nam", "second"])
    with pytest.raises(UserError, match=r"has no key run_nam(,| \()"):
        check_command_line()


@pytest.mark.parametrize(
    "override", [["--amp", "false"], ["--amp=false"], ["--train#trainer#amp", "false"], ["--train#trainer#amp=true"]]
)
def test_false_as_text_would_count_as_true(tmp_path, monkeypatch, override):
    config = tmp_path / "train.json"
    config.write_text(json.dumps({"amp": True, "train": {"trainer": {"amp": "@amp"}}}))
    arguments = ["/env/lib/monai/bundle/__main__.py", "run", "--config_file", str(config)]
    monkeypatch.setattr(sys, "argv", [*arguments, *override])
    with pytest.raises(UserError, match=r"amp (false|true): text on MONAI's command line; write True or False"):
        check_command_line()
    monkeypatch.setattr(sys, "argv", [*arguments, "--amp", "False"])
    check_command_line()

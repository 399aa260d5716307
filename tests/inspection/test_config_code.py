"""What a configuration would run is found, and what no segmentation needs is told from the rest."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pu_unet_monai.errors import UserError
from pu_unet_monai.inspection.config_code import Code, find_code, read_configs, refuse_foreign_code
from tests.conftest import REPOSITORY
from tests.inspection.expressions import FOREIGN, IMPORTS, KNOWN


def write(folder: Path, name: str, content: Any) -> None:
    (folder / "configs").mkdir(exist_ok=True)
    (folder / "configs" / name).write_text(content if isinstance(content, str) else json.dumps(content))


def code_of(bundle: Path) -> list[Code]:
    configs, problems = read_configs(bundle)
    assert not problems
    return find_code(configs)


@pytest.mark.parametrize("text", KNOWN)
def test_known_expressions(tmp_path, text):
    write(tmp_path, "train.json", {"imports": IMPORTS, "deep": [{"key": text}]})
    found = {code.key: code.concern for code in code_of(tmp_path)}
    assert len(found) == len(IMPORTS) + 1
    assert found["deep[0]#key"] is None


@pytest.mark.parametrize("text", FOREIGN)
def test_foreign_expressions(tmp_path, text):
    write(tmp_path, "train.json", {"imports": IMPORTS, "deep": [{"key": text}]})
    (code,) = [code for code in code_of(tmp_path) if code.concern]
    assert (code.key, code.text) == ("deep[0]#key", text)
    with pytest.raises(UserError, match=r"would run code that no segmentation needs: train\.json deep\[0\]#key"):
        refuse_foreign_code(tmp_path)


@pytest.mark.parametrize("statement", ["$import math", "$from monai.utils import ensure_tuple as et"])
def test_known_imports(tmp_path, statement):
    write(tmp_path, "train.json", {"imports": [statement]})
    assert [(code.key, code.concern) for code in code_of(tmp_path)] == [("imports[0]", None)]


@pytest.mark.parametrize(
    ("key", "value", "known"),
    [
        ("_mode_", "callable", True),
        ("_mode_", "debug", False),
        ("_mode_", "$'de' + 'bug'", False),
        ("part#_mode_", "debug", False),
        ("_debug_", True, False),
        ("compile_kwargs", None, True),
        ("compile_kwargs", {"options": {"cpp.cxx": "id"}}, False),
        ("compile_kwargs", "@options", False),
    ],
)
def test_options(tmp_path, key, value, known):
    write(tmp_path, "train.json", {"part": {"_target_": "monai.engines.SupervisedEvaluator", key: value}})
    assert any(code.concern for code in code_of(tmp_path)) != known


@pytest.mark.parametrize(
    ("target", "known"),
    [
        ("Compose", True),
        ("monai.transforms.TorchVision", False),
        ("RandTorchIOd", False),
        ("SaveClassificationd", False),
        ("monai.inferers.PatchInferer", False),
        ("ZarrAvgMerger", False),
        ("SlidingWindowInferer", True),
        ("monai.inferers.inferer.SlidingWindowInferer", True),
        ("monai.optimizers.LearningRateFinder", False),
        ("monai.networks.layers.gmm.GaussianMixtureModel", False),
        ("monai.networks.nets.MILModel", False),
        ("ignite.metrics.FID", False),
        ("ignite.metrics.Accuracy", True),
        ("pu_unet_monai.networks.nets.PUUNet", True),
        ("torch.optim.AdamW", True),
        ("ignite.handlers.ProgressBar", True),
        ("monai.losses.DeepSupervisionLoss", True),
        ("os.system", False),
        ("subprocess.run", False),
        ("builtins.exec", False),
        ("run_cmd", False),
        ("optional_import", False),
        ("torch.load", False),
        ("torch.hub.load", False),
        ("scripts.mine.Transform", False),
        ("monai.data.utils.pickle.loads", False),
        ("pu_unet_monai.commands.predict.run", False),
        ("pu_unet_monai.files.os.system", False),
        ("nothing.of.that.name", False),
        ("torch.utils.collect_env.run", False),
        ("torch.distributed.run.main", False),
        ("torch.distributed.elastic.multiprocessing.subprocess_handler.SubprocessHandler", False),
        ("pu_unet_monai.runtime.bundle.TrainedBundle", False),
        ("pu_unet_monai.runtime.bundle_run.run_bundle", False),
        ("LoadImaged", False),
        ("monai.data.PersistentDataset", False),
        ("torch.classes.x.y", False),
        ("torch.nn.Conv2d", True),
        ("monai.networks.nets.UNet", True),
        ("pu_unet_monai.handlers.ScoresWriter", True),
        ("pu_unet_monai.networks.create_network", True),
        ("monai.losses.PerceptualLoss", False),
        ("PerceptualLoss", False),
        ("torch.utils.model_dump.__main__.x", False),
        ("$'os.sys' + 'tem'", False),
        ("$@x", False),
        ("%x", False),
        (["os.system"], False),
        ("", False),
    ],
)
def test_targets(tmp_path, target, known):
    write(tmp_path, "train.json", {"part": {"_target_": target, "a": 1}})
    (code,) = code_of(tmp_path)
    assert (code.concern is None) == known
    assert code.text == f"_target_ {target}"


@pytest.mark.parametrize("text", ["-" * 900 + "1", "+".join("1" * 3000), "[" * 150 + "]" * 150])
def test_deep_expressions(tmp_path, text):
    write(tmp_path, "train.json", {"x": f"${text}"})
    (code,) = code_of(tmp_path)
    assert code.concern in (None, "is nested too deeply", "cannot be read")


def test_looking_runs_nothing(tmp_path):
    trap = tmp_path / "was_run"
    texts = [f"$open({str(trap)!r}, 'w')", f"$import os; os.system('touch {trap}')"]
    content = {"a": texts, "b": {"_target_": "os.mknod", "path": str(trap)}}
    write(tmp_path, "train.json", content)
    write(tmp_path, "x.yaml", "a: !!python/name:os.system\n")
    configs, (problem,) = read_configs(tmp_path)
    assert "x.yaml: cannot be read" in problem
    assert len(find_code(configs)) == 3
    assert not trap.exists()


def test_names_imported_by_one_file_are_those_of_another(tmp_path):
    write(tmp_path, "train.json", {"imports": ["$import shutil as torch"]})
    write(tmp_path, "evaluate.json", {"a": "$torch.rmtree('x')"})
    assert all(code.concern for code in code_of(tmp_path))


def test_a_name_that_files_import_as_two_things_is_judged_as_both(tmp_path):
    write(tmp_path, "inference.json", {"imports": ["$import monai.utils as x"], "run": "$x.set_determinism(seed=1)"})
    assert not any(code.concern for code in code_of(tmp_path))
    write(tmp_path, "zz.json", {"imports": ["$import math as x"]})
    assert [code.key for code in code_of(tmp_path) if code.concern] == ["run"]


@pytest.mark.parametrize("key", ["evil#_target_", "evil::_target_", "_target_", "+_target_"])
def test_targets_under_any_key(tmp_path, key):
    write(tmp_path, "inference.json", {"evil": {}, key: "os.system", "evil#command": "id"})
    assert [code.text for code in code_of(tmp_path) if code.concern] == ["_target_ os.system"]


@pytest.mark.parametrize(
    ("lines", "known"),
    [
        ("class=StreamHandler\nargs=(sys.stdout,)", True),
        ("class=FileHandler\nargs=('log.txt',)", False),
        ("class=StreamHandler\nargs=('%(z)s',)\nz=',__import__(\"os\").system(\"id\"),'", False),
        ("class=StreamHandler\nargs=(__import__('os').system('id'),)", False),
        ("class=handlers.SocketHandler\nargs=('host', 80)", False),
        ("class=os.system\nargs=('id',)", False),
    ],
)
def test_logging_configurations(tmp_path, lines, known):
    write(tmp_path, "logging.conf", f"[handler_console]\n{lines}\n")
    assert all(code.concern is None for code in code_of(tmp_path)) == known


@pytest.mark.parametrize("content", ["{", "[1, 2]", "\x00", "null"])
def test_damaged_configurations(tmp_path, content):
    write(tmp_path, "train.json", content)
    configs, (problem,) = read_configs(tmp_path)
    assert not configs
    assert "train.json: " in problem
    with pytest.raises(UserError, match=r"train\.json: "):
        refuse_foreign_code(tmp_path)


def test_the_bundles_of_the_project_hold_nothing_foreign():
    for bundle in (REPOSITORY / "bundles").iterdir():
        assert len(code_of(bundle)) > 100
        refuse_foreign_code(bundle)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="$@%#._()[]'\" abosytemimport,:=+lambdx01\n", max_size=40))
def test_any_text_is_judged(text):
    found = find_code({Path("train.json"): {"a": text, "b": {"_target_": text}}})
    assert {code.key for code in found} == ({"a", "b"} if text.startswith(("$", "%")) else {"b"})
    assert all(code.concern != "" for code in found)


ALIASES = "\n".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9) if i else 1}]" for i in range(12))


@pytest.mark.parametrize("content", ["a: &a [*a]", ALIASES], ids=["itself", "aliases"])
def test_yaml_that_unfolds_without_end(tmp_path, content):
    write(tmp_path, "x.yaml", content)
    configs, (problem,) = read_configs(tmp_path)
    assert not configs
    assert "x.yaml: cannot be read (it holds itself, or more than 100000 values)" in problem


def test_pipes_are_not_waited_for(tmp_path):
    (tmp_path / "configs").mkdir()
    os.mkfifo(tmp_path / "configs" / "x.json")
    configs, (problem,) = read_configs(tmp_path)
    assert not configs
    assert problem.endswith("x.json: is no ordinary file.")


def test_what_is_printed_stays_in_its_line(tmp_path):
    write(tmp_path, "train.json", {"a": "$1 # \n\n0 problem(s)\x1b[8m"})
    (code,) = code_of(tmp_path)
    assert str(code) == "train.json a: $1 # \\n\\n0 problem(s)\\x1b[8m (cannot be read)"

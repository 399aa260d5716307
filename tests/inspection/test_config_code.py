"""What a configuration would run is found, and what no segmentation needs is told from the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pu_unet_monai.errors import UserError
from pu_unet_monai.inspection.config_code import Code, find_code, read_configs, refuse_foreign_code
from tests.conftest import REPOSITORY

IMPORTS = ["$import monai", "$import torch", "$import os", "$import numpy as np", "$import glob"]
KNOWN = (
    "$@ckpt_dir + '/model.pt'",
    "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
    "$monai.handlers.from_engine(['pred', 'label'])",
    "$@network_def.to(@device, memory_format=torch.channels_last)",
    "$torch.uint8",
    "$os.path.join(@bundle_root, 'x')",
    "$os.environ['LOCAL_RANK']",
    "$sorted(glob.glob(@dataset_dir + '/*.png'))",
    "$[{'image': i} for i in @images]",
    "$lambda x: x > 0",
    "$monai.transforms.Lambda(lambda x: x + 1)",
    "$np.float32(3)",
    "$np.pi * 2",
    "$@train#trainer.run()",
    "$max(@train#trainer#max_epochs // 10, 1)",
    "$import math",
    "$from monai.utils import ensure_tuple as et",
)
FOREIGN = (
    "$__import__('os').system('id')",
    "$import subprocess",
    "$from subprocess import run",
    "$from os import system",
    "$os.system('id')",
    "$os.popen('id').read()",
    "$os.path.os.system('id')",
    "$monai.utils.misc.subprocess.run(['id'])",
    "$monai.utils.optional_import('os')[0].system('id')",
    "$torch.os.system('id')",
    "$torch.hub.load('a', 'b')",
    "$torch.load('x', weights_only=False)",
    "$np.load('x', allow_pickle=True)",
    "$np.ctypeslib.ctypes.CDLL('x')",
    "$eval('1')",
    "$exec('1')",
    "$open('/etc/passwd').read()",
    "$getattr(torch, 'load')('x')",
    "$().__class__.__base__.__subclasses__()",
    "$@network.forward.__globals__",
    "$[torch][0].hub.load('a', 'b')",
    "$(lambda os: os.system('id'))(os)",
    "$map(eval, ['1'])",
    "$monai.bundle.run('training')",
    "$print('x')",
    "$unknown.function()",
    "$os.system('id'",
    "%/tmp/other.json#run",
)


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


@pytest.mark.parametrize(
    ("target", "known"),
    [
        ("Compose", True),
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
        ("", False),
    ],
)
def test_targets(tmp_path, target, known):
    write(tmp_path, "train.json", {"part": {"_target_": target, "a": 1}})
    (code,) = code_of(tmp_path)
    assert (code.concern is None) == known
    assert code.text == f"_target_ {target}"


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


@pytest.mark.parametrize(
    ("lines", "known"),
    [
        ("class=StreamHandler\nargs=(sys.stdout,)", True),
        ("class=FileHandler\nargs=('log.txt',)", True),
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
    for code in find_code({Path("train.json"): {"a": text, "b": {"_target_": text}}}):
        assert code.concern is None or code.concern

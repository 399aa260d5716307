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
    "$[1][0 # __import__('os').system('id')\n]",
    "$[(lambda eval: 0), eval('1')]",
    "$[(lambda __import__: 0), __import__('os')]",
    "$[(lambda np: 0), np.load('x', allow_pickle=True)]",
    "$[(lambda f: 0), f('1')]",
    "$[f('1') for f in [1]]",
    "$[1][@#b]",
    "$torch.utils.benchmark.Timer('1').timeit(1)",
    "$torch.utils.collect_env.run('id')",
    "$[g.gi_frame.f_builtins for g in [(x for x in [1])]][0]['eval']('1')",
    "$[os.environ][0].update({'A': 'b'})",
    "$os.environ.setdefault('A', 'b')",
    "$torch.tensor([1]).numpy().tofile('x')",
    "$np.savetxt('x', [1])",
    "$monai.networks.utils.save_state({}, 'x')",
    "$monai.transforms.LoadImage()('x.npy')",
    "$'@a' + eval('1') + '@b'",
    "$f'{eval(1)}'",
    "$import os; os.system('id')",
    "$import monai.bundle as x",
    "$@imports.bundle.run('training')",
    "$sorted(['1'], key=eval)",
    "$(yield)",
    "$[x := eval, x('1')]",
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
    for code in find_code({Path("train.json"): {"a": text, "b": {"_target_": text}}}):
        assert code.concern is None or code.concern


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

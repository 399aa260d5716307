"""The files of a bundle, of which none is loaded."""

from __future__ import annotations

import hashlib
import os
import pickle
import re

import pytest
import torch

from pu_unet_monai.inspection.bundle_files import list_files


class Trap:
    def __reduce__(self):
        return os.system, ("touch was_run",)


def test_sizes_and_hashes(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "README.md").write_bytes(b"text")
    torch.save({"a": torch.zeros(2)}, tmp_path / "model.pt")
    readme, weights = sorted(list_files(tmp_path), key=lambda file: file.name)
    assert (readme.name, readme.size) == ("docs/README.md", 4)
    assert readme.sha256 == hashlib.sha256(b"text").hexdigest()
    assert weights.concern is None


@pytest.mark.parametrize(
    ("name", "concern"),
    [
        ("zipped.pt", "would call posix.system; load it with weights_only=True alone"),
        ("plain.pt", "is not in PyTorch's zipped format"),
        ("cut.pt", "is not in PyTorch's zipped format"),
        ("false_end.pt", "cannot be read"),
        ("changed.pt", "is damaged: changed/data/0 in it is not what its checksum says"),
        ("script.ts", "is a TorchScript program"),
        ("script.pt", "is a TorchScript program"),
        ("code.py", "is code"),
        ("outside.json", "is a link to .*, outside of the bundle"),
        ("folder", "is a link to .*, outside of the bundle"),
        ("pipe", "is no ordinary file"),
    ],
)
def test_what_could_run_or_lies_elsewhere_is_named(tmp_path, monkeypatch, name, concern):
    monkeypatch.chdir(tmp_path)
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    path = bundle / name
    if name == "zipped.pt":
        torch.save({"a": Trap()}, path)
    elif name == "plain.pt":
        path.write_bytes(pickle.dumps(Trap()))
    elif name == "cut.pt":
        torch.save({"a": torch.zeros(100)}, path)
        path.write_bytes(path.read_bytes()[:200])
    elif name == "changed.pt":
        torch.save({"a": torch.zeros(100)}, path)
        path.write_bytes(path.read_bytes().replace(bytes(300), bytes(299) + b"\1", 1))
    elif name == "false_end.pt":  # the end of a zip file whose beginning is not there
        path.write_bytes(b"junk" * 20 + b"PK\5\6" + bytes(4) + b"\1\0\1\0\xff\0\0\0\xff\xff\0\0\0\0")
    elif name.startswith("script"):
        torch.jit.script(torch.nn.ReLU()).save(path)
    elif name == "pipe":
        os.mkfifo(path)
    elif name == "code.py":
        path.write_text("raise SystemExit")
    else:
        (tmp_path / "elsewhere").mkdir()
        path.symlink_to(tmp_path / "elsewhere")
    (file,) = list_files(bundle)
    assert file.name == name
    assert file.concern is not None
    assert re.match(concern, file.concern)
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize(
    ("content", "concern"),
    [
        ('{"image_size": 64, "weights_sha256": "HASH"}', None),
        ('{"image_size": 64, "weights_sha256": "0"}', "is not of the model.pt beside it"),
        ('{"image_size": 64}', "is not of the model.pt beside it"),
        ('{"a": "$1", "weights_sha256": "HASH"}', "holds what could be run: a: '$1'"),
        ("{", "cannot be read"),
    ],
)
def test_facts_about_weights(tmp_path, content, concern):
    torch.save({"a": torch.zeros(2)}, tmp_path / "model.pt")
    digest = hashlib.sha256((tmp_path / "model.pt").read_bytes()).hexdigest()
    (tmp_path / "model.json").write_text(content.replace("HASH", digest))
    assert {file.name: file.concern for file in list_files(tmp_path)} == {"model.json": concern, "model.pt": None}

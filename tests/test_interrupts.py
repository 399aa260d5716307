"""Ctrl-C and SIGTERM end a program with one line whenever they come: while it loads, and before it has begun."""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import PYTHON
from tests.reliability.bundles import small_bundle
from tests.signalled import signalled

LONGEST = 120
ENDS = [(signal.SIGINT, "interrupted", 130), (signal.SIGTERM, "terminated", 143)]

pytestmark = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc to see what is loading")


def end(command: list[str], number: signal.Signals, begun: Callable[[int], bool], later: float = 0) -> tuple[int, str]:
    """Send a signal to a program when it has begun something; return its exit code and what it said."""
    done = signalled([PYTHON, "-m", *command], number, begun, later)
    return done.returncode, done.stderr


def loads(library: str) -> Callable[[int], bool]:
    return lambda process: library in Path(f"/proc/{process}/maps").read_text()


@pytest.mark.parametrize("later", [0, 0.5, 2])
@pytest.mark.parametrize(("number", "line", "code"), ENDS)
def test_while_loading(number, line, code, later):
    """In the middle of PyTorch's own import, and in the imports after it."""
    command = ["pu_unet_monai", "predict", "--bundle=none", "--input=none", "--output=none"]
    assert end(command, number, loads("libtorch"), later) == (code, f"{line}\n")


@pytest.mark.parametrize(("number", "line", "code"), ENDS)
def test_before_the_first_case(repository, tmp_path, number, line, code):
    """While the bundle is loaded, which here says so and takes its time."""
    bundle = small_bundle(repository, "pu_unet_kvasir", tmp_path / "bundle")
    begun = tmp_path / "begun"
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text())
    script = f"touch {shlex.quote(str(begun))}; exec sleep {LONGEST}"
    wait = {"_target_": "subprocess.run", "args": ["sh", "-c", script]}
    path.write_text(json.dumps(config | {"preprocessing": wait}))
    options = {"bundle": bundle, "input": tmp_path, "output": tmp_path / "out"}
    command = ["pu_unet_monai", "predict", "--trust", *(f"--{name}={value}" for name, value in options.items())]
    ended, said = end(command, number, lambda _: begun.exists())
    assert ended == code
    assert said.splitlines()[-1] == line
    assert "Traceback" not in said


@pytest.mark.parametrize(("number", "line", "code"), ENDS)
def test_data_prep(number, line, code):
    command = ["data_prep.brats", "--source=none", "--output=none.json"]
    assert end(command, number, loads("_multiarray_umath")) == (code, f"{line}\n")


def test_benchmarks():
    code, said = end(["benchmarks.networks"], signal.SIGINT, loads("libtorch"), 2)
    assert code == -signal.SIGINT
    assert said == "interrupted\n"

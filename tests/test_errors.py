"""A user's mistake is shown as one line; a defect keeps its traceback."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from pu_unet_monai.errors import UserError, find_fault, find_user_error, first_cause, join_some


def wrapped(inner: Exception) -> Exception:
    try:
        try:
            raise inner
        except Exception as error:
            raise RuntimeError("applying transform") from error
    except RuntimeError as outer:
        return outer


def test_finds_the_cause_that_monai_wraps():
    error = UserError("a.png: not a readable image")
    assert find_user_error(wrapped(error)) is error
    assert find_user_error(wrapped(KeyError("x"))) is None
    assert find_user_error(None) is None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "out/a.png"), "out/a.png: Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device", "out/a.png"), "out/a.png: No space left on device"),
        (MemoryError(), "not enough memory (MemoryError)"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
            "not enough memory",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB."), "not enough memory (CUDA"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "is killed by signal: Killed; if"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.png"), None),
        (OSError(errno.EACCES, "Permission denied"), None),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
    ],
)
def test_finds_what_the_machine_refused(error, message):
    found = find_fault(wrapped(error))
    assert (found is None) == (message is None)
    assert message is None or message in str(found)


@pytest.mark.parametrize(
    ("raised", "shown", "traceback"),
    [("UserError('a: b')", "error: a: b", False), ("KeyError('a')", "KeyError: 'a'", True)],
)
def test_excepthook(raised, shown, traceback):
    code = f"from pu_unet_monai.errors import *; one_line_errors(); raise {raised}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 1
    assert shown in run.stderr
    assert ("Traceback" in run.stderr) == traceback


def test_first_cause_stands_below_a_traceback():
    code = "from pu_unet_monai.errors import *; one_line_errors()\n"
    code += "try: int('x')\nexcept ValueError as e: raise KeyError('k') from e"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Traceback" in run.stderr
    assert run.stderr.rstrip().endswith("first cause: ValueError: invalid literal for int() with base 10: 'x'")


def test_long_lists_are_cut():
    assert join_some(["a", "b"]) == "a, b"
    assert join_some([str(i) for i in range(5)], most=2) == "0, 1 and 3 more"


def test_mistake_in_an_expression_names_it():
    with pytest.raises(SyntaxError) as found:
        compile("3 +\n", "<string>", "eval")
    assert first_cause(found.value) == "SyntaxError: invalid syntax in '3 +\\n'"

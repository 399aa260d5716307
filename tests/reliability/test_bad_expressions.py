"""Whatever is written into a configuration: what is called known of it, and run, does nothing to the machine."""

from __future__ import annotations

import ast
import copy
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, reject
from hypothesis import strategies as st
from monai.bundle import ConfigParser

from pu_unet_monai.inspection.config_code import find_code
from tests.inspection.expressions import FOREIGN, IMPORTS, KNOWN
from tests.reliability.tally import examples
from tests.reliability.trap import nothing_happens

DEEDS = ("$os.mkdir('PWNED')", "$open('PWNED', 'w')", "$@om.mkdir('PWNED')", "$@om.path.os.mkdir('PWNED')")
OTHERS = ("%imports#2", "@imports#2", "%#om", "%::a", "%", "@om", "$%#om", "$@#om", "$@::a", "debug", "os.mkdir")
KEYS = ("a", "om", "zz'+str(open('PWNED','w'))+'", "x.json", "imports", "_mode_", "_requires_", "_target_")


def syntax(text: str) -> ast.AST | None:
    """Return the syntax of an expression, references as names; None if it has none."""
    try:
        return ast.parse(re.sub(r"@[\w#:]+", "_reference", text.removeprefix("$")), mode="eval")
    except SyntaxError:
        return None


SEEDS = [tree for text in (*KNOWN, *FOREIGN, *DEEDS) if (tree := syntax(text))]
PIECES = [node for tree in SEEDS for node in ast.walk(tree) if isinstance(node, ast.expr)]


class Exchange(ast.NodeTransformer):
    """Put another expression into the place of the one of a number."""

    def __init__(self, number: int, piece: ast.expr) -> None:
        self.left, self.piece = number, piece

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.expr):
            self.left -= 1
            if self.left == -1:
                if hasattr(node, "ctx") and hasattr(self.piece, "ctx"):
                    self.piece.ctx = node.ctx
                return self.piece
        return super().generic_visit(node)


@st.composite
def expressions(draw: st.DrawFn) -> str:
    """Draw a known or foreign expression of which up to two parts come from others."""
    tree = copy.deepcopy(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 2))):
        number = sum(isinstance(node, ast.expr) for node in ast.walk(tree))
        piece = copy.deepcopy(draw(st.sampled_from(PIECES)))
        tree = Exchange(draw(st.integers(0, number - 1)), piece).visit(tree)
    try:
        return "$" + ast.unparse(ast.fix_missing_locations(tree)).replace("_reference", "@om")
    except ValueError:  # what cannot stand in an f-string
        reject()


VALUES = expressions() | st.sampled_from([*IMPORTS, *OTHERS])
PLAIN = st.sampled_from([1, "cpu", [1, 2]])


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(content: dict[str, Any]) -> None:
    """Run a configuration as MONAI does; what it says does not matter, nor whether it can be run."""
    parser = ConfigParser(content)
    for key in ("om", "value"):
        try:
            parser.get_parsed_content(key)
        except Exception:
            continue


@examples(short=400, full=20000)
@given(om=PLAIN | VALUES, value=VALUES, key=st.sampled_from(KEYS), inner=PLAIN | VALUES)
def test_what_is_known_does_nothing(tally, om, value, key, inner):
    tally.tried["expressions"] += 1
    content = {"imports": IMPORTS, "om": om, "value": {"_requires_": {key: {"a": inner}}, "b": value}}
    if any(code.concern for code in find_code({Path("inference.json"): content})):
        tally.errors["expressions"] += 1
        return
    environment, modules = dict(os.environ), (os.replace, torch.device, np.array)
    with nothing_happens():
        run(content)
    assert dict(os.environ) == environment
    assert modules == (os.replace, torch.device, np.array)
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    "expression",
    [
        "$open('PWNED', 'w')",
        "$os.mkdir('PWNED')",
        "$os.system('true')",
        "$os.environ.update({'A': 'b'})",
        "$[0 for os.environ['A'] in ['b']]",
    ],
)
def test_the_trap_springs(expression, monkeypatch):
    monkeypatch.delenv("A", raising=False)
    monkeypatch.setenv("A", "before")
    with pytest.raises(AssertionError), nothing_happens():
        run({"imports": IMPORTS, "om": 1, "value": expression})

"""The suite itself: small networks that cannot do things, and wrong declarations that it must notice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from . import golden
from .base_tester import Abilities, NetworkCase, NetworkTester
from .cases import all_cases
from .test_nets import CASES

WEIGHTS = 3 * 9 + 1


class ValidConvolution(nn.Module):
    """Output smaller than the input; leaves the check of channels to PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


class NeedsMultiple(nn.Module):
    """Refuses sizes that are no multiple of 4, and can be neither scripted nor exported."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        x = inputs[0]
        if x.shape[2] % 4 or x.shape[3] % 4:
            raise ValueError(f"sizes must be multiples of 4, got {list(x.shape[2:])}.")
        return self.conv(x) * (1 if x.sum().item() < 1e9 else 2)


VALID = NetworkCase(
    "valid",
    ValidConvolution,
    {},
    WEIGHTS,
    odd_sizes=((5, 7), (17, 33)),
    abilities=Abilities(
        same_size_output="convolutions without padding", channels="not checked", checkpoint="one layer only"
    ),
)
MULTIPLE = NetworkCase(
    "multiple",
    NeedsMultiple,
    {},
    WEIGHTS,
    odd_sizes=((5, 7), (16, 18), (6, 8)),
    abilities=Abilities(
        any_size="no padding",
        channels="not checked",
        script="variadic",
        export="data-dependent",
        checkpoint="one layer",
    ),
)
TESTS = [
    "test_any_size",
    "test_backward",
    "test_checkpoint",
    "test_export_dynamic",
    "test_export_static",
    "test_parameters",
    "test_script",
    "test_sizes",
    "test_state_dict",
    "test_wrong_channels",
    "test_wrong_dimensions",
]


@pytest.mark.parametrize("name", TESTS)
@pytest.mark.parametrize("case", [VALID, MULTIPLE], ids=str)
def test_declared(case: NetworkCase, name: str) -> None:
    getattr(NetworkTester(), name)(case)


@pytest.mark.parametrize(
    ("case", "name", "declared"),
    [
        (VALID, "test_sizes", {"same_size_output": True}),
        (VALID, "test_any_size", {"any_size": "stale"}),
        (VALID, "test_script", {"script": "stale"}),
        (VALID, "test_export_static", {"export": "stale"}),
        (VALID, "test_wrong_channels", {"channels": True}),
        (VALID, "test_wrong_dimensions", {"channels": True}),
        (VALID, "test_checkpoint", {"checkpoint": True}),
        (MULTIPLE, "test_any_size", {"any_size": True}),
        (MULTIPLE, "test_sizes", {"same_size_output": "stale"}),
        (MULTIPLE, "test_script", {"script": True}),
        (MULTIPLE, "test_export_static", {"export": True}),
        (CASES[0], "test_wrong_channels", {"channels": "stale"}),
        (CASES[0], "test_checkpoint", {"checkpoint": "stale"}),
    ],
)
def test_wrong_declarations_fail(case: NetworkCase, name: str, declared: dict[str, bool | str]) -> None:
    wrong = replace(case, abilities=replace(case.abilities, **declared))
    # pytest.raises() that sees nothing raises Failed, which is no Exception.
    with pytest.raises((Exception, pytest.fail.Exception)):
        getattr(NetworkTester(), name)(wrong)


def test_wrong_number_of_training_outputs_fails() -> None:
    with pytest.raises(AssertionError):
        NetworkTester().test_backward(replace(MULTIPLE, training_outputs=2))


@pytest.mark.parametrize("ability", [False, "", None])
def test_an_ability_is_true_or_a_reason(ability: object) -> None:
    with pytest.raises(ValueError, match="script must be True or a reason"):
        Abilities(script=ability)  # type: ignore[arg-type]


def test_golden_files_belong_to_a_case() -> None:
    assert sorted(p.stem for p in golden.FOLDER.glob("*.json")) == sorted(case.id for case in all_cases())


def test_all_cases_are_those_of_every_module() -> None:
    """Each once: modules may import another's, and two networks under one name would share a golden file."""
    from . import test_r2_unet

    found = [case.id for case in all_cases()]
    assert len(found) == len(set(found))
    assert {case.id for case in (*CASES, *test_r2_unet.CASES)} <= set(found)


def test_golden_notices_changes(tmp_path: Path) -> None:
    case = next(case for case in CASES if case.id == "pu_unet_all")
    assert golden.write(case, tmp_path) == "pu_unet_all: written"
    golden.check(case, tmp_path)
    for change in ({"positivity": "lower_bound"}, {"log_clip": 0.5}, {"act": "RELU"}):
        with pytest.raises(AssertionError, match="pu_unet_all: the output changed by"):
            golden.check(replace(case, options=case.options | change), tmp_path)
    with pytest.raises(AssertionError, match="no golden output"):
        golden.check(case, tmp_path / "elsewhere")


def test_golden_files_are_not_overwritten_silently(tmp_path: Path) -> None:
    case = CASES[0]
    golden.write(case, tmp_path)
    path = tmp_path / f"{case.id}.json"
    assert golden.write(case, tmp_path) == f"{case.id}: unchanged"
    stored = json.loads(path.read_text())
    stored["values"][7] += 0.5
    path.write_text(json.dumps(stored))
    assert golden.write(case, tmp_path) == f"{case.id}: differs by 0.5, LEFT AS IT IS (--overwrite replaces it)"
    assert json.loads(path.read_text()) == stored
    assert golden.write(case, tmp_path, overwrite=True) == f"{case.id}: overwritten, differed by 0.5"
    golden.check(case, tmp_path)

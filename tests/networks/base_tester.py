"""One suite that every network runs through, and the table of what each network can do.

A test module lists its networks as ``NetworkCase`` and derives from ``NetworkTester``::

    @pytest.mark.parametrize("case", CASES, ids=str)
    class TestNetworks(NetworkTester): ...

What a network cannot do is declared beside it in ``Abilities`` with the reason. The suite then checks that it fails
as it should (a clear error, or the smaller output), so that a declaration cannot outlive its reason.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn

from pu_unet_monai.runtime.export import export_program

from . import golden

Ability = bool | str
"""True, or a string that says why not."""

ODD_SIZES = {2: ((5, 7), (17, 33), (1, 1)), 3: ((7, 9, 5), (1, 2, 1), (17, 6, 33))}


@dataclass(frozen=True)
class Abilities:
    """What a network can do: each True, or the reason why not.

    Attributes:
        any_size: takes any spatial size; otherwise it refuses one that does not fit with a ValueError that names it.
        same_size_output: the output has the input's spatial size; otherwise a smaller one.
        channels: checks the channels of its input itself (ValueError); otherwise PyTorch's error has to do.
        script: compiles with TorchScript.
        export: exports with torch.export.
        export_dynamic: exports with dynamic sizes too; otherwise that is not tried, as it can take minutes.
        checkpoint: has the option ``use_checkpoint``, which recomputes activations in the backward pass.
    """

    any_size: Ability = True
    same_size_output: Ability = True
    channels: Ability = True
    script: Ability = True
    export: Ability = True
    export_dynamic: Ability = True
    checkpoint: Ability = True

    def __post_init__(self) -> None:
        for name, ability in vars(self).items():
            if ability is not True and not (isinstance(ability, str) and ability):
                raise ValueError(f"{name} must be True or a reason, got {ability!r}.")


@dataclass(frozen=True)
class NetworkCase:
    """A network under test.

    Attributes:
        id: name in the test's output, and of the golden file.
        network: class or function that makes the network from ``options``.
        options: keyword arguments.
        parameters: how many parameters it has.
        size: a spatial size that fits it, more than 16 on each axis.
        other_size: another one.
        odd_sizes: sizes of which none fits a network without ``any_size``.
        training_outputs: how many outputs it returns in training mode: a list of them, main output first, if several.
        checkpoint_keeps: with ``use_checkpoint``, less than this part of the activations is kept.
        autocast_tolerance: largest error in bfloat16 and float16 autocast, relative to the output's largest value.
    """

    id: str
    network: Callable[..., nn.Module]
    options: dict[str, Any]
    parameters: int
    size: tuple[int, ...] = (24, 20)
    other_size: tuple[int, ...] = (32, 28)
    in_channels: int = 3
    out_channels: int = 1
    odd_sizes: Sequence[tuple[int, ...]] | None = None
    training_outputs: int = 1
    checkpoint_keeps: float = 0.8
    autocast_tolerance: float = 0.05
    abilities: Abilities = field(default_factory=Abilities)

    def __str__(self) -> str:
        return self.id

    def create(self, seed: int = 0, **options: Any) -> nn.Module:
        """Make the network with weights that depend on ``seed`` alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.network(**(self.options | options)).eval()

    def input(self, size: tuple[int, ...] | None = None, batch: int = 2, channels: int | None = None) -> torch.Tensor:
        """Make a random batch that is the same at every call."""
        shape = (batch, channels or self.in_channels, *(size or self.size))
        return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


class NetworkTester:
    """The suite; derive from it and parametrise ``case``."""

    def test_parameters(self, case: NetworkCase) -> None:
        assert sum(p.numel() for p in case.create().parameters()) == case.parameters

    @torch.no_grad()
    def test_sizes(self, case: NetworkCase) -> None:
        network = case.create()
        for size in (case.size, case.other_size):
            self._check_shape(case, network(case.input(size)), size)

    @torch.no_grad()
    def test_any_size(self, case: NetworkCase) -> None:
        network = case.create()
        for size in case.odd_sizes or ODD_SIZES[len(case.size)]:
            x = case.input(size)
            if case.abilities.any_size is True:
                self._check_shape(case, network(x), size)
            else:
                with pytest.raises(ValueError, match="|".join(rf"\b{length}\b" for length in size)):
                    network(x)

    def test_batch_items_do_not_mix(self, case: NetworkCase) -> None:
        network, x = case.create(), case.input()
        with torch.no_grad():
            assert_close(network(x)[1:], network(x[1:]), 1e-5)

    def test_backward(self, case: NetworkCase) -> None:
        network = case.create().train()
        x = case.input().requires_grad_()
        outputs = network(x)
        if case.training_outputs == 1:
            outputs = [outputs]
        assert isinstance(outputs, list)
        assert len(outputs) == case.training_outputs
        for y in outputs:
            self._check_shape(case, y, case.size)
        sum(y.square().mean() for y in outputs).backward()
        wanted = {name: p.grad for name, p in network.named_parameters() if p.requires_grad}
        gradients = wanted | {"input": x.grad}
        assert [name for name, gradient in gradients.items() if gradient is None] == []
        assert [name for name, gradient in gradients.items() if not gradient.isfinite().all()] == []
        # A bias just before a normalisation may have none, but a network that learns has some in most tensors.
        assert sum(bool(gradient.any()) for gradient in gradients.values()) > len(gradients) / 2

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
    def test_autocast(self, case: NetworkCase, dtype: torch.dtype) -> None:
        network, x = case.create(), case.input((*self._odd_sizes(case), case.size)[0])
        with torch.no_grad():
            expected = network(x)
        with torch.autocast("cpu", dtype):
            y = network(x)
        assert y.dtype == dtype
        assert y.isfinite().all()
        assert_close(y.detach().float(), expected, case.autocast_tolerance)
        assert not torch.equal(y.detach().float(), expected), "nothing was computed in low precision"
        y.float().square().mean().backward()
        gradients = [p.grad for p in network.parameters() if p.grad is not None]  # who has one, test_backward says
        assert gradients
        assert all(gradient.isfinite().all() and gradient.dtype == torch.float32 for gradient in gradients)

    @torch.no_grad()
    def test_script(self, case: NetworkCase) -> None:
        network = case.create()
        if case.abilities.script is not True:
            # Each step of the compiler has its own class of error, so any error stands for "does not compile".
            with pytest.raises(Exception):  # noqa: B017, PT011
                torch.jit.script(network)
            return
        scripted = torch.jit.script(network)
        for size in (case.size, case.other_size, *self._odd_sizes(case)):
            x = case.input(size)
            assert_close(scripted(x), network(x), 1e-5)

    def test_script_keeps_the_checks(self, case: NetworkCase) -> None:
        if case.abilities.script is not True or case.abilities.channels is not True:
            pytest.skip(f"{case.abilities.script} {case.abilities.channels}")
        with pytest.raises(torch.jit.Error, match=f"{case.in_channels} channels"):
            torch.jit.script(case.create())(case.input(channels=case.in_channels + 1))

    @torch.no_grad()
    def test_export_static(self, case: NetworkCase) -> None:
        network, x = case.create(), case.input(batch=1)
        if case.abilities.export is not True:
            with pytest.raises(Exception):  # noqa: B017, PT011 - as in test_script
                torch.export.export(network, (x,))
            return
        assert_close(torch.export.export(network, (x,)).module()(x), network(x), 1e-5)

    @torch.no_grad()
    def test_export_dynamic(self, case: NetworkCase) -> None:
        network = case.create()
        if case.abilities.export is not True:
            with pytest.raises(Exception):  # noqa: B017, PT011 - as in test_script
                export_program(network, case.input())
            return
        if case.abilities.export_dynamic is not True:
            pytest.skip(case.abilities.export_dynamic)
        module = export_program(network, case.input(batch=1)).module()
        for number, size in enumerate((case.size, case.other_size, *self._odd_sizes(case))):
            x = case.input(size, batch=1 + 2 * (number % 2))
            assert_close(module(x), network(x), 1e-5)

    @torch.no_grad()
    def test_state_dict(self, case: NetworkCase) -> None:
        network, other, x = case.create(seed=0), case.create(seed=1), case.input()
        expected = network(x)
        assert not torch.equal(other(x), expected), "the output does not depend on the weights"
        file = io.BytesIO()
        torch.save(network.state_dict(), file)
        file.seek(0)
        other.load_state_dict(torch.load(file, weights_only=True))
        torch.testing.assert_close(other(x), expected, rtol=0, atol=0)

    def test_golden(self, case: NetworkCase) -> None:
        golden.check(case)

    def test_wrong_channels(self, case: NetworkCase) -> None:
        network = case.create()
        for channels in (case.in_channels + 1, case.in_channels + 8):
            x = case.input(channels=channels)
            if case.abilities.channels is True:
                with pytest.raises(ValueError, match=rf"\b{case.in_channels} channels(.|\n)*\b{channels}\b"):
                    network(x)
            else:
                with pytest.raises(RuntimeError, match=rf"channels(.|\n)*\b{channels}\b"):
                    network(x)

    def test_wrong_dimensions(self, case: NetworkCase) -> None:
        network, x = case.create(), case.input()
        if case.abilities.channels is True:
            for wrong in (x[0], x[..., None], x[0, 0]):
                with pytest.raises(ValueError, match=rf"{len(case.size)} spatial(.|\n)*{wrong.shape[-1]}\]"):
                    network(wrong)
        else:  # PyTorch takes an input without a batch axis
            with pytest.raises((ValueError, RuntimeError)):
                network(x[..., None])

    def test_checkpoint(self, case: NetworkCase) -> None:
        if case.abilities.checkpoint is not True:
            with pytest.raises((TypeError, ValueError), match="use_checkpoint"):
                case.create(use_checkpoint=True)
            return
        plain, recomputed = case.create().train(), case.create(use_checkpoint=True).train()
        kept: dict[nn.Module, int] = {}
        outputs = {}
        for network in (plain, recomputed):
            kept[network] = 0

            def count(tensor: torch.Tensor, network: nn.Module = network) -> torch.Tensor:
                kept[network] += tensor.numel()
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
                outputs[network] = network(case.input())
            outputs[network].square().mean().backward()
        assert kept[recomputed] < case.checkpoint_keeps * kept[plain]
        torch.testing.assert_close(outputs[recomputed], outputs[plain], rtol=0, atol=0)
        for p, q in zip(recomputed.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad, rtol=0, atol=0)

    @staticmethod
    def _odd_sizes(case: NetworkCase) -> Sequence[tuple[int, ...]]:
        if case.abilities.any_size is not True:
            return ()
        return case.odd_sizes or ODD_SIZES[len(case.size)]

    @staticmethod
    def _check_shape(case: NetworkCase, y: torch.Tensor, size: tuple[int, ...]) -> None:
        assert y.shape[:2] == (2, case.out_channels)
        if case.abilities.same_size_output is True:
            assert tuple(y.shape[2:]) == size
        else:
            assert all(out < into for out, into in zip(y.shape[2:], size, strict=True))
        assert y.isfinite().all()
        assert y.dtype == torch.float32


def assert_close(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """Compare, with a tolerance relative to the largest expected value."""
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * expected.abs().max().item())

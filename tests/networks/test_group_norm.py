"""GroupNorm gives PyTorch's values and gradients, whichever backward pass it takes."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from pu_unet_monai.networks.blocks.group_norm import GroupNorm, get_norm_layer
from pu_unet_monai.networks.nets import PUUNet

LAYOUTS = {2: torch.channels_last, 3: torch.channels_last_3d}


def pair(groups: int, channels: int) -> tuple[GroupNorm, nn.GroupNorm]:
    """Return ours and PyTorch's, with the same random weights."""
    torch.manual_seed(0)
    reference = nn.GroupNorm(groups, channels)
    nn.init.normal_(reference.weight)
    nn.init.normal_(reference.bias)
    ours = GroupNorm(groups, channels)
    ours.load_state_dict(reference.state_dict())
    return ours, reference


def image(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    """Return random numbers with channels last, which want a gradient."""
    torch.manual_seed(1)
    numbers = (3 * torch.randn(shape) + 2).to(dtype)
    return numbers.contiguous(memory_format=LAYOUTS[len(shape) - 2]).requires_grad_()


def backward_of(y: torch.Tensor) -> str:
    return type(y.grad_fn).__name__


def gradients(norm: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Return the gradients of x, weight and bias of a weighted sum of the output."""
    y = norm(x)
    torch.manual_seed(2)
    grad = torch.randn(y.shape).to(y)  # in one order, whatever the layout
    return list(torch.autograd.grad(y, (x, *norm.parameters()), grad))


@pytest.mark.parametrize(("groups", "channels"), [(8, 16), (4, 32), (1, 2), (3, 3)])
@pytest.mark.parametrize("size", [(5, 7), (16, 16), (3, 4, 5), (1, 2)])
@pytest.mark.parametrize("batch", [1, 3])
def test_gradients_are_those_of_exact_arithmetic_up_to_rounding(
    groups: int, channels: int, size: tuple[int, ...], batch: int
) -> None:
    ours, reference = pair(groups, channels)
    x = image(batch, channels, *size)
    assert backward_of(ours(x)) == "_GroupNormFunctionBackward"
    torch.testing.assert_close(ours(x), reference(x), rtol=0, atol=0)
    found, pytorchs = gradients(ours, x), gradients(reference, x)
    exact = gradients(reference.double(), x.detach().double().contiguous().requires_grad_())
    for name, got, theirs, wanted in zip(("x", "weight", "bias"), found, pytorchs, exact, strict=True):
        rounding = 2**-8 * wanted.abs().max()
        assert (got - wanted).abs().max() <= (theirs - wanted).abs().max() + rounding, name
    assert found[0].dtype == torch.bfloat16
    assert found[1].dtype == torch.float32
    assert found[0].is_contiguous(memory_format=LAYOUTS[len(size)])


def test_a_worked_gradient() -> None:
    norm = GroupNorm(1, 2, eps=0.0)
    x = torch.tensor([1.0, -1.0, 1.0, -1.0]).view(1, 2, 1, 2).bfloat16()
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    y = norm(x)
    assert backward_of(y) == "_GroupNormFunctionBackward"
    torch.testing.assert_close(y, x)  # mean 0, variance 1
    grad = torch.tensor([1.0, 0.0, 0.0, 0.0]).view(1, 2, 1, 2).bfloat16()
    y.backward(grad)
    # grad - mean(grad) - y * mean(grad * y), with both means 1/4
    torch.testing.assert_close(x.grad.flatten(), torch.tensor([0.5, 0.0, -0.5, 0.0]).bfloat16())
    torch.testing.assert_close(norm.weight.grad, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(norm.bias.grad, torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.detach().float().requires_grad_(),
        lambda x: x.detach().contiguous().requires_grad_(),
        lambda x: x.detach()[:, :, 0].requires_grad_(),
    ],
    ids=["float32", "channels first", "1D"],
)
def test_elsewhere_the_code_is_pytorchs(change) -> None:
    ours, reference = pair(8, 16)
    x = change(image(2, 16, 4, 6))
    assert backward_of(ours(x)) == backward_of(reference(x)) == "NativeGroupNormBackward0"


def test_wide_groups_and_norms_without_weights_are_pytorchs() -> None:
    x = image(2, 32, 4, 6)
    assert backward_of(GroupNorm(2, 32)(x)) == "NativeGroupNormBackward0"
    assert backward_of(GroupNorm(4, 32)(x)) == "_GroupNormFunctionBackward"
    assert backward_of(GroupNorm(4, 32, affine=False)(x)) == "NativeGroupNormBackward0"
    with torch.no_grad():
        assert GroupNorm(4, 32)(x).grad_fn is None


@pytest.mark.parametrize("frozen", [(), ("weight", "bias"), ("bias",)], ids=["none", "parameters", "bias"])
def test_gradients_of_gradients_are_pytorchs(frozen: tuple[str, ...]) -> None:
    found = []
    for norm in pair(4, 8):
        for name in frozen:
            getattr(norm, name).requires_grad_(False)
        x = image(2, 8, 3, 5)
        (first,) = torch.autograd.grad(norm(x).float().square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(first.float().square().sum(), x)[0])
    torch.testing.assert_close(found[0], found[1], rtol=0.05, atol=0.05)
    assert found[1].abs().max() > 0.1


def test_a_gradient_in_another_layout() -> None:
    ours, _ = pair(4, 8)
    x = image(2, 8, 3, 5)
    grad = torch.randn(2, 8, 3, 5).bfloat16()
    (one,) = torch.autograd.grad(ours(x), x, grad)
    (other,) = torch.autograd.grad(ours(x), x, grad.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_recomputed_in_the_backward_pass() -> None:
    ours, _ = pair(4, 8)
    x = image(2, 8, 3, 5)
    again = checkpoint(ours, x, use_reentrant=False)
    plain = torch.autograd.grad(ours(x).float().square().sum(), x)[0]
    torch.testing.assert_close(torch.autograd.grad(again.float().square().sum(), x)[0], plain, rtol=0, atol=0)


def test_keeps_what_pytorchs_keeps() -> None:
    kept = []
    for norm in pair(4, 8):
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, to=sizes: (to.append(t.numel()), t)[1], lambda t: t):
            norm(image(2, 8, 3, 5))
        kept.append(sum(size for size in sizes if size > 8))
    assert kept[0] == kept[1]


def test_scripts_and_exports_hold_pytorchs_operator() -> None:
    ours, reference = pair(4, 8)
    x = image(2, 8, 3, 5, dtype=torch.float32).detach()
    scripted = torch.jit.script(copy.deepcopy(ours).eval())
    file = io.BytesIO()
    torch.jit.save(scripted, file)
    file.seek(0)
    torch.testing.assert_close(torch.jit.load(file)(x), reference(x))
    exported = torch.export.export(ours, (image(2, 8, 3, 5).detach(),))
    assert "group_norm" in str(exported.graph)
    batch = x.contiguous()[None]
    torch.testing.assert_close(torch.func.vmap(ours)(batch)[0], reference(x))


def test_pu_unet_uses_it() -> None:
    network = PUUNet(channels=[16, 32])
    norms = [module for module in network.modules() if isinstance(module, nn.GroupNorm)]
    assert norms
    assert all(type(norm) is GroupNorm for norm in norms)
    assert type(get_norm_layer(("GROUP", {"num_groups": 2, "affine": False}), 3, 4)) is GroupNorm
    assert type(get_norm_layer("INSTANCE", 3, 4)) is nn.InstanceNorm3d

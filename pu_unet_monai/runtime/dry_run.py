"""What memory a network will need, counted without running it."""

from __future__ import annotations

import contextlib
import copy
import math
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map_only

__all__ = ["DryRun", "LiveBytes", "dry_run"]


class DryRun(NamedTuple):
    """What a network would do."""

    peak_bytes: int
    """Most bytes of tensors that live at once."""
    output_size: tuple[int, ...]
    output_dtype: torch.dtype


def dry_run(
    network: nn.Module,
    input_size: Sequence[int],
    device_type: str = "cpu",
    dtype: torch.dtype | None = None,
    backward: bool = False,
    workspace: bool = False,
) -> DryRun:
    """Run ``network`` on fake tensors, which have a size and no memory, and count their bytes.

    Counted are the input, all activations, what is kept for the backward pass, the gradients of activations and of
    parameters, and the output: exactly the tensors of a real run in float32 on a CPU, and under autocast up to
    5 % more. Not counted are parameters, buffers and the state of an optimiser; what the allocator rounds up or
    holds free; and, without ``workspace``, what kernels allocate for themselves. A loss of one number stands for
    the real one: ``output.float().sum()``.

    Args:
        network: network that takes and returns one tensor; it stays as it is.
        input_size: size of its float32 input, (B, C, *spatial).
        device_type: ``"cpu"`` or ``"cuda"``, whose rules of autocast apply. No such device has to be there.
            Defaults to ``"cpu"``.
        dtype: the precision of autocast; None or float32 for none. Defaults to None.
        backward: whether to run forward and backward, instead of forward without gradients. Defaults to False.
        workspace: whether to count what a forward convolution allocates beside its output, see
            :class:`LiveBytes`. Defaults to False.
    """
    with torch.inference_mode(False), torch.autocast("cpu", enabled=False), torch.set_grad_enabled(backward):
        fake_mode = FakeTensorMode(allow_non_fake_inputs=True)
        fake_network = _without_memory(network, fake_mode)
        with fake_mode, LiveBytes(workspace) as live, _autocast(device_type, dtype):
            image = torch.empty(*input_size)  # which a caller keeps
            output = fake_network(image)
            if backward:
                # a network with deep supervision gives several outputs in training
                losses = [each.float().sum() for each in _tensors(output)]
                _run_backward(sum(losses[1:], losses[0]))
    finest = next(_tensors(output))
    return DryRun(live.peak, tuple(finest.shape), finest.dtype)


def _run_backward(loss: torch.Tensor) -> None:
    """Do what ``loss.backward()`` does, which would suspend _CUDAAutocast, so that checkpoints recompute without."""
    engine = torch.autograd.Variable._execution_engine
    engine.run_backward((loss,), (torch.ones_like(loss),), False, False, (), True, accumulate_grad=True)


class LiveBytes(TorchDispatchMode):
    """Count the bytes of tensors, real or fake, that are made while this mode is on and that are still alive.

    A storage counts once, however many views it has, until it is freed; what was there before does not count.

    A convolution on a CPU also holds copies of its input and output in oneDNN's blocked layout for a moment:
    with ``workspace`` the peak has room for that, the larger of the input and twice the output. Measured, this is
    exact in bfloat16 and up to one output too much in float32. PyTorch leaves small float32 inputs to an older
    kernel (``ConvParams::use_mkldnn``), which unfolds them: that is counted instead.

    Args:
        workspace: whether the peak includes the workspace of forward convolutions. Defaults to False.

    Attributes:
        now: bytes alive now.
        peak: most bytes alive at once.
    """

    def __init__(self, workspace: bool = False) -> None:
        super().__init__()
        self.workspace = workspace
        self.now = 0
        self.peak = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        for tensor in _tensors((args, kwargs)):
            self._add(tensor.untyped_storage(), counts=False)
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            self._add(tensor.untyped_storage(), counts=True)
        needed = self.now
        if self.workspace and func is torch.ops.aten.convolution.default:
            needed += _convolution_workspace(args[0], args[1], result)
        self.peak = max(self.peak, needed)
        return result

    def _add(self, storage: torch.UntypedStorage, counts: bool) -> None:
        key = storage._cdata  # the storage itself: its Python wrapper may change
        if key not in self._sizes:
            self._sizes[key] = storage.nbytes() if counts else 0
            self.now += self._sizes[key]
            weakref.finalize(storage, self._remove, key)

    def _remove(self, key: int) -> None:
        self.now -= self._sizes.pop(key)


def _tensors(tree: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in tree_iter(tree) if isinstance(leaf, torch.Tensor))


_LARGEST_UNFOLDED = 20480
"""Float32 inputs of one item up to this many elements, without the last axis, are unfolded."""


def _convolution_workspace(image: torch.Tensor, weight: torch.Tensor, output: torch.Tensor) -> int:
    blocked = max(image.nbytes, 2 * output.nbytes)
    if image.dtype != torch.float32 or math.prod(image.shape[:4]) > _LARGEST_UNFOLDED:
        return blocked
    columns = math.prod(weight.shape[2:]) * image.shape[1] * math.prod(output.shape[2:])
    return max(blocked, columns * image.element_size())


def _without_memory(network: nn.Module, fake_mode: FakeTensorMode) -> nn.Module:
    """Copy a network with fake parameters and buffers, whatever device they are on."""
    memo: dict[int, torch.Tensor] = {}
    with fake_mode:
        for tensor in (*network.parameters(), *network.buffers()):
            fake = torch.empty(tensor.shape, dtype=tensor.dtype)
            memo[id(tensor)] = nn.Parameter(fake, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else fake
    return copy.deepcopy(network, memo)


def _autocast(device_type: str, dtype: torch.dtype | None) -> contextlib.AbstractContextManager[Any]:
    if dtype in (None, torch.float32):
        return contextlib.nullcontext()
    return _CUDAAutocast(dtype) if device_type == "cuda" else torch.autocast("cpu", dtype)


class _CUDAAutocast(TorchFunctionMode):
    """What autocast does on CUDA, on tensors of the CPU: without a GPU, backward of fake CUDA tensors aborts.

    The lists of operations are PyTorch's, as far as networks use them; all others take the wider type of their inputs.
    """

    # fmt: off
    LOW = frozenset((
        "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear", "matmul",
        "mm", "bmm", "addmm", "baddbmm", "einsum", "prelu", "scaled_dot_product_attention",
    ))
    FLOAT32 = frozenset((
        "group_norm", "layer_norm", "interpolate", "softmax", "log_softmax", "softplus", "exp", "expm1", "log",
        "log1p", "log2", "log10", "pow", "rsqrt", "reciprocal", "cumsum", "cumprod", "prod", "sum", "norm",
    ))
    # fmt: on

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", "")
        kwargs = kwargs or {}
        if name in self.LOW or name in self.FLOAT32:
            dtype = self.dtype if name in self.LOW else torch.float32
            args, kwargs = tree_map_only(torch.Tensor, lambda tensor: _cast(tensor, dtype), (args, kwargs))
        return func(*args, **kwargs)


def _cast(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() and tensor.dtype != torch.float64 else tensor

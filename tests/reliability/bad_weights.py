"""Files of weights that are damaged, hold something else, or would run code."""

from __future__ import annotations

import io
import os
import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.reliability.damage import damaged

__all__ = ["bad_weights"]


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.trap}",)


def bad_weights(good: bytes, trap: Path) -> Iterator[tuple[str, bytes]]:
    """Yield a name and a file of weights; each is an error, or holds the same weights.

    Args:
        good: a good file.
        trap: a file that is there if code in one of the others was run.
    """
    yield from damaged(good, random.Random(4), flips=120)
    state = torch.load(io.BytesIO(good), weights_only=True)
    name, weight = next(iter(state.items()))
    contents: dict[str, Any] = {
        "malicious": Malicious(trap),
        "malicious_value": state | {name: Malicious(trap)},
        "malicious_more": {"network": state, "more": Malicious(trap)},
        "list": [1, 2],
        "number": 3.5,
        "nothing": {},
        "none": None,
        "text": {name: "weights"},
        "numpy": {key: value.numpy() for key, value in state.items()},
        "module": torch.nn.Linear(2, 2),
        "network_of_nothing": {"network": {}},
        "network_of_text": {"network": "x"},
        "one_missing": {key: value for key, value in state.items() if key != name},
        "one_more": state | {"more": weight},
        "other_shape": state | {name: weight[:1]},
        "empty_tensor": state | {name: weight[:0]},
        "expanded": state | {name: torch.zeros(1).expand(10**9)},
        "nan": state | {name: torch.full_like(weight, torch.nan)},
        "infinite": state | {name: torch.full_like(weight, torch.inf)},
        "beyond_half": {key: (value * 1e6).half() if key == name else value for key, value in state.items()},
        "complex": state | {name: weight.to(torch.complex64)},
        "whole_numbers": state | {name: torch.ones_like(weight, dtype=torch.int64)},
        "sparse": state | {name: weight.to_sparse()},
        "meta": state | {name: weight.to("meta")},
        "number_keys": dict(enumerate(state.values())),
        "mixed_keys": state | {3: weight},
        "beyond_single": state | {name: weight.double().fill_(1e300)},
        "nested": state | {name: torch.nested.nested_tensor([weight[0], weight[0]])},
        "eight_bits": state | {name: weight.to(torch.float8_e4m3fn)},
        "as_checkpoint": {"network": state, "epoch": 3},
    }
    for kind, content in contents.items():
        file = io.BytesIO()
        torch.save(content, file)
        yield kind, file.getvalue()
    for protocol in (0, 2, 5):
        yield f"pickle_{protocol}", pickle.dumps(Malicious(trap), protocol)
        yield f"pickle_of_arrays_{protocol}", pickle.dumps({name: np.zeros(3)}, protocol)
    old = io.BytesIO()
    torch.save(state, old, _use_new_zipfile_serialization=False)
    yield "old_format", old.getvalue()

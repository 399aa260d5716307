from __future__ import annotations

import logging

import torch
from ignite.engine import Engine
from torch import nn

from pu_unet_monai.handlers import MemoryEstimate


def logged(caplog, network, sizes, amp=False) -> list[logging.LogRecord]:
    engine = Engine(lambda engine, batch: None)
    engine.state.device = "cpu"
    MemoryEstimate(network, sizes, amp).attach(engine)
    with caplog.at_level(logging.INFO):
        engine.run([0])
    return [record for record in caplog.records if "memory" in record.message]


def test_worked_number(caplog):
    """The input and the output, 40 MB each; the gradient of a sum is one number, however often it is read."""
    network = nn.Conv2d(1, 1, 1, bias=False)
    (record,) = logged(caplog, network, {"patches": (1, 1, 1000, 10000), "boxes": None})
    assert record.message.startswith("memory of a training step, estimated: 80 MB for patches of 1x1x1000x10000; free")
    assert record.message.count(" for ") == 1


def test_warns_of_what_will_not_fit(caplog):
    records = logged(caplog, nn.Conv2d(1, 1, 1), {"patches": (1, 1, 1000000, 1000000)})
    assert [record.levelno for record in records] == [logging.INFO, logging.WARNING]
    assert "low_memory.json" in records[1].message


class Undecided(nn.Module):
    """What it does depends on the numbers, which fake tensors do not have."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum().item() > 0 else -x


def test_a_network_that_cannot_be_counted_trains_all_the_same(caplog):
    (record,) = logged(caplog, Undecided(), {"patches": (1, 1, 4, 4)})
    assert "cannot be estimated" in record.message

from __future__ import annotations

import csv

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from torch import nn

from pu_unet_monai.handlers import EpochLog, ProductUnitMonitor
from pu_unet_monai.networks.blocks import ProductUnit
from tests.handlers.test_training_handlers import Evaluator


def unit(log_clip: float | None, bias: float) -> ProductUnit:
    """A product unit whose outputs are all exp(bias), clipped."""
    made = ProductUnit(2, 1, 1, log_clip=log_clip)
    nn.init.zeros_(made.conv.weight)
    nn.init.constant_(made.conv.bias, bias)
    return made


def run(network: nn.Module, handlers: list, batches: int = 1, epochs: int = 1) -> SupervisedTrainer:
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=[{"image": torch.zeros(1, 1, 4, 4), "label": torch.zeros(1)}] * batches,
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.0),
        loss_function=lambda prediction, label: prediction.float().mean(),
        train_handlers=handlers,
    )
    trainer.run()
    return trainer


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ([unit(10.0, 3.0)], 0.0),
        ([unit(10.0, 10.0)], 1.0),
        ([unit(10.0, -12.0)], 1.0),
        ([unit(10.0, 12.0), unit(10.0, 3.0)], 0.5),
        ([unit(None, 12.0), unit(None, 9.0)], 0.5),  # what a bound of e^10 would clip
        ([nn.Conv2d(1, 1, 1)], 0.0),
    ],
    ids=["none", "upper", "lower", "half", "no clipping", "no product unit"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_share(units, expected, dtype):
    network = nn.Sequential(*units)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        trainer = run(network, [ProductUnitMonitor(every=1)])
    assert trainer.state.clipped_share == expected
    assert not any(module._forward_hooks for module in network)


def test_share_is_logged_and_looked_at_now_and_then(tmp_path):
    network = nn.Sequential(unit(10.0, 12.0))
    calls = []
    network[0].register_forward_hook(lambda *_: calls.append(len(network[0]._forward_hooks)))
    run(network, [ProductUnitMonitor(every=4), EpochLog(tmp_path, Evaluator())], batches=6)
    assert calls == [2, 1, 1, 1, 2, 1]
    (row,) = csv.DictReader((tmp_path / "epochs.csv").open())
    assert float(row["clipped_share"]) == 1.0


def test_each_epoch_begins_with_a_look():
    network = nn.Sequential(unit(10.0, 12.0))
    monitor = ProductUnitMonitor(every=10)
    shares = []

    class Reader:
        def attach(self, engine):
            engine.add_event_handler(Events.EPOCH_STARTED, lambda: self.unclip(engine.state.epoch))
            engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: shares.append(engine.state.clipped_share))

        def unclip(self, epoch):
            nn.init.constant_(network[0].conv.bias, 12.0 if epoch == 1 else 3.0)

    run(network, [monitor, Reader()], batches=3, epochs=2)
    assert shares == [1.0, 0.0]

"""Handlers of a training, on a network small enough to compute by hand."""

from __future__ import annotations

import csv
import math

import pytest
import torch
from monai.engines import SupervisedTrainer

from pu_unet_monai.errors import NonFiniteLossError
from pu_unet_monai.handlers import EpochLog, GradientClipping, NonFiniteGuard


class Evaluator:
    """What EpochLog reads of a validation engine."""

    class state:
        epoch = 0
        metrics: dict[str, float] = {}  # noqa: RUF012
        key_metric_name = "dice"
        best_metric = -1
        best_metric_epoch = -1


def trainer_of(handlers: list, inputs: list[list[float]], max_epochs: int = 1, rate: float = 1.0) -> SupervisedTrainer:
    """Train ``w . x`` from w = 0, so that the gradient of the loss, the output itself, is x."""
    network = torch.nn.Linear(2, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    return SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=max_epochs,
        train_data_loader=[{"image": torch.tensor([x]), "label": torch.zeros(1)} for x in inputs],
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=rate),
        loss_function=lambda prediction, label: prediction.sum(),
        train_handlers=handlers,
    )


def test_gradient_is_clipped_and_its_norm_reported():
    trainer = trainer_of([GradientClipping(max_norm=1.0)], [[3.0, 4.0]])
    trainer.run()
    assert trainer.state.gradient_norm == pytest.approx(5.0)
    assert trainer.network.weight.tolist()[0] == pytest.approx([-0.6, -0.8], abs=1e-5)


def test_small_gradient_is_left_alone():
    trainer = trainer_of([GradientClipping(max_norm=1.0)], [[0.3, 0.4]])
    trainer.run()
    assert trainer.state.gradient_norm == pytest.approx(0.5)
    assert trainer.network.weight.tolist()[0] == pytest.approx([-0.3, -0.4])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_guard_stops_before_the_weights_change(bad):
    trainer = trainer_of([NonFiniteGuard()], [[1.0, 1.0], [bad, 1.0], [1.0, 1.0]])
    with pytest.raises(NonFiniteLossError, match=r"at epoch 1, iteration 2; .*--resume True"):
        trainer.run()
    assert trainer.network.weight.tolist() == [[-1.0, -1.0]]


def test_epoch_log_writes_means(tmp_path, caplog):
    # w = 0, then -x: losses 0 and -(1 + 4) in epoch 1; the gradient norms are those of x
    path = tmp_path / "epochs.csv"
    evaluator = Evaluator()
    evaluator.state.metrics = {"dice": 0.5}
    evaluator.state.epoch = 1
    handlers = [GradientClipping(max_norm=100.0), EpochLog(tmp_path, evaluator)]
    with caplog.at_level("INFO", "pu_unet_monai"):
        trainer_of(handlers, [[1.0, 2.0], [1.0, 2.0]], max_epochs=2).run()
    first, second = csv.DictReader(path.open())
    assert (float(first["loss"]), float(first["dice"])) == (-2.5, 0.5)
    assert float(first["gradient_norm"]) == pytest.approx(math.sqrt(5))
    assert (float(second["loss"]), second["dice"]) == (-12.5, "")
    assert "epoch 1/2: " in caplog.text
    assert (tmp_path / "epochs.png").is_file()


def test_epoch_log_tells_finite_gradients_from_others(tmp_path):
    handlers = [GradientClipping(max_norm=100.0), EpochLog(tmp_path, Evaluator())]
    trainer_of(handlers, [[3.0, 4.0], [math.inf, 1.0], [0.0, 1.0]], rate=0.0).run()
    (row,) = csv.DictReader((tmp_path / "epochs.csv").open())
    assert (float(row["gradient_norm"]), float(row["gradient_norm_max"])) == (3.0, 5.0)
    assert row["non_finite_gradients"] == "1"
    assert "clipped_share" not in row


def test_the_epoch_that_exploded_is_logged(tmp_path):
    """In the order of the bundles: the guard is the first to see it, and ends the training."""
    handlers = [NonFiniteGuard(), GradientClipping(max_norm=1.0), EpochLog(tmp_path, Evaluator())]
    trainer = trainer_of(handlers, [[3.0, 4.0], [0.0, 1.0]], max_epochs=2)
    trainer.network.weight.register_hook(lambda grad: grad * math.nan if trainer.state.iteration == 3 else grad)
    with pytest.raises(NonFiniteLossError, match="at epoch 2, iteration 4"):
        trainer.run()
    first, second = csv.DictReader((tmp_path / "epochs.csv").open())
    assert (first["non_finite_gradients"], second["non_finite_gradients"]) == ("0", "1")


def test_epoch_log_replaces_rows_after_a_resume(tmp_path):
    path = tmp_path / "epochs.csv"
    path.write_text("epoch,loss,dice\n1,9.0,0.1\n2,8.0,0.2\n3,7.0,0.3\n")
    trainer = trainer_of([EpochLog(tmp_path, Evaluator())], [[0.0, 0.0]], max_epochs=2)
    trainer.state.epoch = 1
    trainer.state.iteration = 1
    trainer.run()
    rows = [(row["epoch"], float(row["loss"])) for row in csv.DictReader(path.open())]
    assert rows == [("1", 9.0), ("2", 0.0)]

"""Which weights are kept, and what a resumed training goes on with."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from filelock import FileLock
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from monai.handlers import LrScheduleHandler
from monai.optimizers import WarmupCosineSchedule

from pu_unet_monai.errors import NonFiniteLossError, UserError
from pu_unet_monai.handlers import NonFiniteGuard, TrainingCheckpoint


class ScriptedValidation(Engine):
    """An evaluator with MONAI's state whose key metric follows a script, one score an epoch; None: no lesion."""

    def __init__(self, scores: list[float | None]) -> None:
        super().__init__(lambda engine, batch: None)
        self.scores = scores
        self.state = SimpleNamespace(
            iteration=0,
            epoch=0,
            epoch_length=len(scores) and 1,
            best_metric=-1,
            best_metric_epoch=-1,
            key_metric_name="dice",
            metric_details={},
            metrics={},
        )

    def attach(self, trainer: Engine) -> None:
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self.validate)

    def validate(self, trainer: Engine) -> None:
        if not self.scores:  # MONAI's evaluator does nothing on no data
            return
        state, score = self.state, self.scores[trainer.state.epoch - 1]
        state.epoch = trainer.state.epoch
        state.metric_details = {"dice": torch.tensor([[float("nan") if score is None else score]])}
        if score is not None and score > state.best_metric:
            state.best_metric, state.best_metric_epoch = score, state.epoch
        self._fire_event(Events.COMPLETED)


def train(
    folder: Path,
    scores: list[float | None],
    rate: float = 1.0,
    handlers: tuple = (),
    epochs: int | None = None,
    **options: object,
) -> SupervisedTrainer:
    """Train one weight with constant gradient 1; without decay it falls by the learning rate at each of 2 steps."""
    epochs = len(scores) if epochs is None else epochs
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    optimizer = torch.optim.SGD(network.parameters(), lr=rate)
    schedule = WarmupCosineSchedule(optimizer, warmup_steps=0, t_total=epochs)
    evaluator = ScriptedValidation(scores)
    checkpoint = TrainingCheckpoint(folder, network, optimizer, schedule, evaluator, **options)
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=[{"image": torch.ones(1, 1), "label": torch.zeros(1)}] * 2,
        network=network,
        optimizer=optimizer,
        loss_function=lambda prediction, label: prediction.sum(),
        train_handlers=[*handlers, evaluator, LrScheduleHandler(schedule, print_lr=False), checkpoint],
    )
    trainer.rates = []
    trainer.add_event_handler(Events.EPOCH_STARTED, lambda: trainer.rates.append(optimizer.param_groups[0]["lr"]))
    trainer.run()
    return trainer


def weight_in(path: Path) -> float:
    content = torch.load(path, weights_only=True)
    return content.get("network", content)["weight"].item()


def test_model_is_that_of_the_best_epoch(tmp_path):
    train(tmp_path, [0.3, 0.5, 0.4, 0.5])
    # two steps an epoch at rates 1, .854, ...: after epoch 2 the weight is -2 * (1 + .8536)
    assert weight_in(tmp_path / "model.pt") == pytest.approx(-3.7071, abs=1e-3)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint_epoch=3.pt",
        "checkpoint_epoch=4.pt",
        "model.pt",
    ]


def test_resumed_training_keeps_the_best(tmp_path):
    train(tmp_path, [0.3, 0.5])
    before = weight_in(tmp_path / "model.pt")
    train(tmp_path, [0.3, 0.5, 0.4], resume=True)
    assert weight_in(tmp_path / "model.pt") == before
    train(tmp_path, [0.3, 0.5, 0.4, 0.6], resume=True)
    assert weight_in(tmp_path / "model.pt") == weight_in(tmp_path / "checkpoint_epoch=4.pt") != before


def test_resumed_training_follows_the_new_configuration(tmp_path):
    train(tmp_path, [0.1, 0.2])
    trainer = train(tmp_path, [0.1, 0.2, 0.3, 0.4], rate=0.5, resume=True)
    # half of a cosine of 4 epochs that starts at 0.5: 0.5 * (1 + cos(pi * 2 / 4)) / 2, and at 3 / 4
    assert trainer.rates == pytest.approx([0.25, 0.0732], abs=1e-3)


def test_resuming_what_is_finished_changes_nothing(tmp_path):
    train(tmp_path, [0.1, 0.2])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    train(tmp_path, [0.1, 0.2], resume=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_no_training_is_ever_lost(tmp_path):
    for number in range(3):
        train(tmp_path, [0.1], rate=number + 1.0)
    kept = [tmp_path / "previous-1", tmp_path / "previous-2", tmp_path]
    assert [weight_in(folder / "model.pt") for folder in kept] == [-2.0, -4.0, -6.0]
    assert [weight_in(folder / "checkpoint_epoch=1.pt") for folder in kept] == [-2.0, -4.0, -6.0]


def test_fine_tuning_from_the_model_it_will_replace(tmp_path):
    train(tmp_path, [0.1])
    train(tmp_path, [0.1], pretrained=tmp_path / "model.pt")
    assert weight_in(tmp_path / "model.pt") == -4.0


def test_an_engine_that_runs_again_goes_on(tmp_path):
    trainer = train(tmp_path, [0.1, 0.5, 0.2])
    trainer.state.max_epochs = 3  # a round of federated learning starts the same engine again
    trainer.run()
    assert not list(tmp_path.glob("previous*"))
    assert (tmp_path / "model.pt").is_file()


def test_without_validation_data_the_newest_weights_are_the_best(tmp_path):
    train(tmp_path, [], epochs=3)
    assert weight_in(tmp_path / "model.pt") == weight_in(tmp_path / "checkpoint_epoch=3.pt") != 0


def test_weights_of_a_checkpoint_under_the_name_that_monai_label_looks_for(tmp_path):
    train(tmp_path, [0.5])
    checkpoint = torch.load(tmp_path / "checkpoint_epoch=1.pt", weights_only=True)
    assert torch.equal(checkpoint["model"]["weight"], checkpoint["network"]["weight"])
    assert checkpoint["model"]["weight"].data_ptr() == checkpoint["network"]["weight"].data_ptr(), "stored twice"


def test_validation_without_a_lesion_is_refused(tmp_path):
    with pytest.raises(UserError, match="no validation image has a lesion"):
        train(tmp_path, [None])
    assert not (tmp_path / "model.pt").exists()


def test_guard_keeps_a_poisoned_last_step_from_the_checkpoints(tmp_path):
    class Poison:
        def attach(self, engine: Engine) -> None:
            engine.add_event_handler(Events.ITERATION_COMPLETED(once=4), self)

        def __call__(self, engine: Engine) -> None:
            with torch.no_grad():
                engine.network.weight.fill_(torch.nan)

    with pytest.raises(NonFiniteLossError, match="the weights became NaN or infinite at epoch 2, iteration 4"):
        train(tmp_path, [0.1, 0.2, 0.3], handlers=(Poison(), NonFiniteGuard()))
    assert sorted(path.name for path in tmp_path.glob("*.pt")) == ["checkpoint_epoch=1.pt", "model.pt"]
    assert weight_in(tmp_path / "model.pt") == -2.0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weight": torch.zeros(1, 1)}, "no checkpoint of a training, it lacks lr_scheduler, network, optimizer"),
        (
            {
                "network": {"weight": torch.zeros(2, 1)},
                "optimizer": {},
                "lr_scheduler": {},
                "scaler": {},
                "trainer": {},
            },
            r"checkpoint_epoch=1\.pt: does not fit the network: 1 tensors of another shape",
        ),
    ],
)
def test_checkpoints_that_do_not_fit(tmp_path, content, message):
    torch.save(content, tmp_path / "checkpoint_epoch=1.pt")
    with pytest.raises(UserError, match=message):
        train(tmp_path, [0.1, 0.2], resume=True)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("trainer", {}, "KeyError: 'epoch'"),
        ("trainer", [], "TypeError"),
        ("trainer", {"epoch": "x"}, "ValueError: epoch 'x'"),
        ("trainer", {"epoch": -5}, "ValueError: epoch -5"),
        ("rng", torch.zeros(3), "TypeError"),
        ("rng", torch.zeros(3, dtype=torch.uint8), "RuntimeError"),
        ("optimizer", {}, "KeyError"),
        ("optimizer", None, ""),
        ("lr_scheduler", [], "TypeError"),
        ("scaler", {}, None),
    ],
)
def test_checkpoints_that_are_no_state_of_a_training(tmp_path, part, value, message):
    train(tmp_path, [0.1])
    path = tmp_path / "checkpoint_epoch=1.pt"
    content = torch.load(path, weights_only=True)
    (content["trainer"] if part == "rng" else content)[part] = value
    torch.save(content, path)
    if message is None:
        train(tmp_path, [0.1, 0.2], resume=True)
        return
    with pytest.raises(UserError, match=rf"checkpoint_epoch=1\.pt: no checkpoint of this training \({message}"):
        train(tmp_path, [0.1, 0.2], resume=True)


def test_what_is_no_checkpoint_at_all(tmp_path):
    torch.save([1, 2], tmp_path / "checkpoint_epoch=1.pt")
    with pytest.raises(UserError, match=r"no checkpoint of a training, it lacks lr_scheduler, network"):
        train(tmp_path, [0.1, 0.2], resume=True)


def test_temporary_files_of_a_killed_training_are_removed(tmp_path):
    for name in (".12-model.pt", ".12-model.json", ".12-checkpoint_epoch=3.pt"):
        (tmp_path / name).touch()
    (tmp_path / ".kept").touch()
    train(tmp_path, [0.1])
    assert [path.name for path in tmp_path.glob(".*")] == [".kept"]


def test_the_lock_of_the_process_that_saves_is_not_removed_by_another(tmp_path):
    """Of several processes that train, the others may be done while the first still writes."""
    mine, other = (TrainingCheckpoint(tmp_path, None, None, None, None) for _ in range(2))
    mine._lock_folder()
    other._lock = FileLock(tmp_path / ".training.lock")
    other.release(None)
    assert (tmp_path / ".training.lock").exists()
    mine.release(None)
    assert not (tmp_path / ".training.lock").exists()


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: cannot be a folder"):
        train(tmp_path / "file", [0.1])

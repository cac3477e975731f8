from __future__ import annotations

import builtins
import csv

import pytest
import yaml

torch = pytest.importorskip("torch")

from dlc_deploy.errors import ConfigError, UnavailableError  # noqa: E402
from dlc_deploy.training.apis.train import train  # noqa: E402
from dlc_deploy.training.runners import LOGGER, BaseLogger, CSVLogger  # noqa: E402
from dlc_deploy.training.task import Task  # noqa: E402
from tests import training_runs  # noqa: E402

pytestmark = pytest.mark.torch


def run(loader, logger_config, transform=training_runs.plain):
    options = {"transform": transform, "inference_transform": training_runs.plain}
    options |= {"logger_config": logger_config, "from_scratch": True}
    train(loader, loader.model_cfg, Task.BOTTOM_UP, **options)


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_is_sorted_and_continued(tmp_path):
    log = CSVLogger(tmp_path, "stats.csv")
    log.log({"losses/train.b": 0.1, "losses/train.a": 1 / 3}, step=1)
    log.log({"losses/train.b": 0.2}, step=2)
    log.log({"metrics/test.mAP": 50.0}, step=2)
    log = CSVLogger(tmp_path, "stats.csv")
    log.log({"losses/train.a": 7}, step=3)
    text = (tmp_path / "stats.csv").read_text().splitlines()
    assert text == [
        "step,losses/train.a,losses/train.b,metrics/test.mAP",
        f"1,{1 / 3},0.1,",
        "2,,0.2,50.0",
        "3,7,,",
    ]
    CSVLogger.open(tmp_path / "stats.csv", until=1).log({"losses/train.a": 1})
    assert [row["step"] for row in rows_of(tmp_path / "stats.csv")] == ["1", "2"]
    assert [path.name for path in tmp_path.iterdir()] == ["stats.csv"]


def test_tensorboard_shows_what_the_table_holds_and_pictures(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    loader = training_runs.DrawnLoader(tmp_path)
    run(loader, {"type": "TensorboardLogger", "run_name": "first", "image_log_interval": 2})
    shown = EventAccumulator(str(loader.model_folder / "tensorboard" / "first")).Reload()
    rows = rows_of(loader.model_folder / "learning_stats.csv")
    assert set(shown.Tags()["scalars"]) == set(rows[0]) - {"step"}
    for name in ("losses/train.total_loss", "metrics/test.rmse"):
        told = {event.step: event.value for event in shown.Scalars(name)}
        assert told == pytest.approx({int(r["step"]): float(r[name]) for r in rows if r[name]})
    pictures = [
        f"{image}.heatmap.{channel}" for image in ("train-0", "test-0") for channel in "012"
    ]
    assert set(shown.Tags()["images"]) == {"train-0.input", "test-0.input", *pictures}
    (picture,) = shown.Images("train-0.input")
    assert (picture.step, picture.width, picture.height) == (2, 32, 32)
    (heatmap,) = shown.Images("test-0.heatmap.2")
    assert (heatmap.width, heatmap.height) == (17, 34)  # the output above the target
    assert "config/text_summary" in shown.Tags()["tensors"]


def test_a_run_that_goes_on_purges_what_tensorboard_saw_of_later_epochs(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    content = training_runs.config(epochs=4)
    content["runner"] |= {"eval_interval": 0}
    content["runner"]["snapshots"]["save_epochs"] = 2
    loader = training_runs.DrawnLoader(tmp_path, content)
    seen = 0

    def interrupts(drawn):
        nonlocal seen
        seen += 1
        if seen == 16:  # in the fourth epoch
            raise KeyboardInterrupt
        return training_runs.plain(drawn)

    with pytest.raises(KeyboardInterrupt):
        run(loader, {"type": "TensorboardLogger"}, interrupts)
    run(loader, {"type": "TensorboardLogger"})
    shown = EventAccumulator(str(loader.model_folder / "tensorboard")).Reload()
    steps = [event.step for event in shown.Scalars("losses/train.total_loss")]
    assert steps == [1, 2, 3, 4]


@pytest.mark.slow
def test_wandb_gets_the_run_with_its_tags_and_configuration(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    loader = training_runs.DrawnLoader(tmp_path / "project")
    seen = []
    original = wandb.init

    def init(**options):
        begun = original(**options)
        seen.append((options, begun, begun.log))
        monkeypatch.setattr(begun, "log", lambda values, step: seen.append((step, values)))
        return begun

    monkeypatch.setattr(wandb, "init", init)
    config = {"type": "WandbLogger", "project_name": "mice", "run_name": "a", "tags": ["model=x"]}
    run(loader, config | {"image_log_interval": 3, "notes": "drawn"})
    options, begun, _ = seen[0]
    assert options == {"project": "mice", "name": "a", "tags": ["model=x"], "notes": "drawn"}
    assert begun.tags == ("model=x",) and begun.config["train_settings"]["epochs"] == 3
    info = yaml.safe_load((loader.model_folder / "wandb_info.yaml").read_text())
    assert info["run_id"] == begun.id and info["project"] == "mice"
    assert wandb.run is None  # it was ended
    logged = {step: values for step, values in seen[1:] if "losses/train.total_loss" in values}
    rows = rows_of(loader.model_folder / "learning_stats.csv")
    assert [logged[step]["losses/train.total_loss"] for step in (1, 2, 3)] == [
        float(row["losses/train.total_loss"]) for row in rows
    ]
    pictures = {name: step for step, values in seen[1:] for name in values if "input" in name}
    assert pictures == {"train-0.input": 3}


def test_wandb_begins_no_run_with_arguments_it_does_not_take(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    loader = training_runs.DrawnLoader(tmp_path)
    with pytest.raises(ConfigError, match=r"no_such_option.*Check the keys of logger"):
        run(loader, {"type": "WandbLogger", "no_such_option": 1})


@pytest.mark.parametrize(
    ("kind", "package"),
    [("WandbLogger", "wandb"), ("TensorboardLogger", "torch.utils.tensorboard")],
)
def test_a_missing_package_is_told_with_the_line_that_installs_it(
    tmp_path, monkeypatch, kind, package
):
    original = builtins.__import__

    def without(name, *values, **options):
        if name.startswith(package):
            raise ImportError(name)
        return original(name, *values, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UnavailableError, match=r"pip install 'dlc-deploy\[loggers\]'"):
        LOGGER.build({"type": kind}, model=torch.nn.Linear(1, 1), train_folder=tmp_path)


def test_a_logger_of_ones_own_is_told_everything_and_closed(tmp_path):
    told = []

    @LOGGER.register_module
    class Listener(BaseLogger):
        def __init__(self, greeting, model, train_folder):
            told.append((greeting, type(model).__name__, train_folder.name))

        def log_config(self, config):
            told.append(config["net_type"])

        def log(self, metrics, step=None):
            told.append((step, "losses/train.total_loss" in metrics))

        def save(self):
            told.append("saved")

    run(training_runs.DrawnLoader(tmp_path), {"type": "Listener", "greeting": "hello"})
    assert told == [
        ("hello", "PoseModel", "train"),
        "small",
        (1, True),
        (2, True),
        (3, True),
        "saved",
    ]

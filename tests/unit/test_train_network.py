from __future__ import annotations

import pytest
import yaml

pytest.importorskip("torch")

from dlc_deploy.errors import ConfigError, InputError, SnapshotError, UnavailableError
from dlc_deploy.training.apis import train_network as module
from dlc_deploy.training.apis.train_network import train_network
from dlc_deploy.training.data import DLCLoader
from dlc_deploy.training.task import Task
from tests.small_training import allow_every_machine, recorded_trainings, register_small_model
from tests.training_projects import make_dlc_project

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def small(monkeypatch):
    register_small_model(monkeypatch)


@pytest.fixture
def project(tmp_path):
    return make_dlc_project(tmp_path / "project", net_type="small")


@pytest.fixture
def top_down(tmp_path):
    return make_dlc_project(tmp_path / "crops", net_type="small", top_down=True)


@pytest.fixture
def calls(monkeypatch):
    """What ``train`` is called with, instead of training."""
    return recorded_trainings(monkeypatch, module)


@pytest.fixture
def machine(monkeypatch):
    """A machine that has every device and precision."""
    allow_every_machine(monkeypatch, module)


def config_of(project, shuffle=1):
    return DLCLoader(project, shuffle=shuffle).model_config_path


def content(project):
    return yaml.safe_load(config_of(project).read_text())


def test_a_model_is_trained(project):
    train_network(project, epochs=2, batch_size=2, display_iters=1, from_scratch=True)
    folder = config_of(project).parent
    assert (folder / "snapshot-002.pt").is_file()
    log = (folder / "train.txt").read_text()
    assert "Training the pose model small." in log and "epoch 2/2: loss" in log


def test_what_is_changed_is_written(project, calls):
    train_network(
        project,
        epochs=3,
        batch_size=5,
        save_epochs=2,
        display_iters=9,
        pytorch_cfg_updates={"runner.eval_interval": 4},
    )
    written = content(project)
    ((config, task, _),) = calls
    assert task is Task.BOTTOM_UP and config == written
    settings = written["train_settings"]
    assert (settings["epochs"], settings["batch_size"], settings["display_iters"]) == (3, 5, 9)
    assert written["runner"]["snapshots"]["save_epochs"] == 2
    assert written["runner"]["eval_interval"] == 4


def test_nothing_is_written_where_a_change_is_refused(project, calls):
    before = config_of(project).read_bytes()
    with pytest.raises(ConfigError, match="did you mean eval_interval"):
        train_network(project, epochs=3, pytorch_cfg_updates={"runner.eval_intervall": 4})
    assert config_of(project).read_bytes() == before and not calls


@pytest.mark.parametrize("trained", [False, True])
def test_a_configuration_that_is_refused_untrained_does_not_stay(project, monkeypatch, trained):
    path = config_of(project)
    former = path.read_bytes()

    def refuse(*arguments, **more):
        if trained:
            (path.parent / "snapshot-001.pt").touch()
        raise ConfigError("no such optimizer")

    monkeypatch.setattr(module, "train", refuse)
    changes = {"runner.optimizer.type": "Foo"}
    with pytest.raises(ConfigError, match="no such optimizer"):
        train_network(project, epochs=2, pytorch_cfg_updates=changes, device="cpu")
    assert (path.read_bytes() == former) is not trained


def test_the_detector_comes_first(top_down, calls, machine, tmp_path):
    snapshots = tmp_path / "pose.pt", tmp_path / "boxes.pt"
    for path in snapshots:
        path.touch()
    config_of(top_down).write_text(
        yaml.safe_dump(
            content(top_down)
            | {"device": "cpu", "logger": {"type": "WandbLogger", "run_name": "mice"}}
        )
    )
    train_network(
        top_down,
        detector_epochs=4,
        detector_batch_size=3,
        detector_save_epochs=2,
        display_iters=7,
        device="cuda:1",
        snapshot_path=snapshots[0],
        detector_path=snapshots[1],
        load_head_weights=False,
        max_snapshots_to_keep=2,
        precision="bf16",
        restart=True,
    )
    (detector, first, boxes), (_, second, pose) = calls
    assert (first, second) == (Task.DETECT, Task.TOP_DOWN)
    settings = detector["train_settings"]
    assert (settings["epochs"], settings["batch_size"], settings["display_iters"]) == (4, 3, 7)
    assert detector["runner"]["snapshots"]["save_epochs"] == 2 and detector["device"] == "cpu"
    assert (pose["snapshot_path"], boxes["snapshot_path"]) == snapshots
    assert boxes["logger_config"]["run_name"] == "mice-detector"
    assert pose["logger_config"]["run_name"] == "mice"
    assert pose["load_head_weights"] is False
    for given in (boxes, pose):
        assert given["device"] == "cuda:1" and given["max_snapshots_to_keep"] == 2
        assert given["precision"] == "bf16"
        assert given["restart"] is True and given["from_scratch"] is False


@pytest.mark.parametrize(
    ("epochs", "trained"),
    [((0, 3), [Task.TOP_DOWN]), ((3, 0), [Task.DETECT]), ((0, 0), [])],
)
def test_no_epochs_leave_a_model_untrained(top_down, calls, epochs, trained):
    train_network(top_down, detector_epochs=epochs[0], epochs=epochs[1])
    assert [task for _, task, _ in calls] == trained


def test_the_detector_starts_from_the_weights_that_the_pose_model_names(top_down, calls):
    start = {"snapshot_path": "pose.pt", "detector_snapshot_path": "boxes.pt"}
    train_network(top_down, pytorch_cfg_updates={"train_settings.weight_init": start})
    assert [config["train_settings"]["weight_init"] for config, *_ in calls] == [start, start]
    assert content(top_down)["detector"]["train_settings"]["weight_init"] is None


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"device": "gpu"}, ConfigError, "got 'gpu'"),
        ({"device": "cuda:77"}, UnavailableError, "got cuda:77"),
        ({"device": "cpu", "precision": "fp16"}, UnavailableError, "got fp16"),
        ({"device": "cpu", "pytorch_cfg_updates": {"runner.gpus": [0]}}, ConfigError, "gpus"),
        ({"snapshot_path": "nothing.pt"}, SnapshotError, "found no such file"),
        ({"detector_path": "nothing.pt"}, SnapshotError, "found no such file"),
    ],
)
def test_what_cannot_be_trained_changes_nothing(project, calls, options, error, message):
    before = config_of(project).read_bytes()
    with pytest.raises(error, match=message):
        train_network(project, epochs=3, **options)
    assert config_of(project).read_bytes() == before and not calls


def test_memory_replay_is_refused(project, calls):
    start = {"train_settings.weight_init": {"memory_replay": True}}
    with pytest.raises(ConfigError, match="memory_replay"):
        train_network(project, pytorch_cfg_updates=start)
    assert not calls


def test_a_shuffle_that_is_not_there_is_told(project):
    with pytest.raises(InputError, match="create_training_dataset"):
        train_network(project, shuffle=3)


def test_only_the_first_process_writes(project, calls, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    before = config_of(project).read_bytes()
    train_network(project, epochs=3)
    assert config_of(project).read_bytes() == before
    assert not (config_of(project).parent / "train.txt").exists()
    assert calls[0][0]["train_settings"]["epochs"] == 3

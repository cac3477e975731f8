from __future__ import annotations

import copy

import pytest

from dlc_deploy.errors import ConfigError
from dlc_deploy.training.config import make_pytorch_pose_config
from dlc_deploy.training.config.changes import changed_config
from tests.projects import single_animal


@pytest.fixture
def config():
    return make_pytorch_pose_config(single_animal(), "pytorch_config.yaml", "rtmpose_s", True)


def test_values_are_changed_in_a_copy(config):
    before = copy.deepcopy(config)
    changes = {
        "train_settings.epochs": 3,
        "detector.runner.snapshots.save_epochs": 7,
        "runner.optimizer.params.lr": 1,
        "runner.optimizer.params.weight_decay": 0.1,  # a key that the optimizer may take
        "data.train.gaussian_noise": False,
        "data.train.affine.rotation": 10,
        "logger": {"type": "CSVLogger"},
        "device": "cpu",
    }
    changed = changed_config(config, changes, "here")
    assert config == before
    assert changed["train_settings"]["epochs"] == 3
    assert changed["detector"]["runner"]["snapshots"]["save_epochs"] == 7
    assert changed["runner"]["optimizer"]["params"] == {"lr": 1, "weight_decay": 0.1}
    assert changed["data"]["train"]["gaussian_noise"] is False
    assert changed["data"]["train"]["affine"]["rotation"] == 10
    assert changed["logger"] == {"type": "CSVLogger"}


def test_a_key_that_an_old_configuration_lacks_may_be_set(config):
    del config["runner"]["gpus"], config["detector"]["runner"]["gpus"], config["logger"]
    changes = {"runner.gpus": [0, 1], "detector.runner.gpus": [0], "logger": None}
    changed = changed_config(config, changes, "here")
    assert changed["runner"]["gpus"] == [0, 1] and changed["detector"]["runner"]["gpus"] == [0]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train_settings.epoch", 3, r"epoch: no such key; did you mean epochs\?"),
        ("detector.train_settings.epoch", 3, r"did you mean epochs\?"),
        ("train_setings.epochs", 3, r"did you mean train_settings\?"),
        ("runner.optimizer.params.lr.first", 3, "to be a section, got 0.001"),
        ("nonsense", 3, "no such key; known keys are"),
        ("data.inference.nonsense", 3, "data.inference.nonsense: unknown key"),
        ("train_settings.epochs", "many", "expected a whole number such as 400, got 'many'"),
        ("train_settings.epochs", 1.5, "a whole number"),
        ("train_settings.epochs", True, "a whole number"),
        ("runner.optimizer.params.lr", "1e-3", "expected a number such as 0.001"),
        ("metadata.individuals", [], "individuals"),
    ],
)
def test_what_cannot_be_is_refused(config, key, value, message):
    with pytest.raises(ConfigError, match=message):
        changed_config(config, {key: value}, "here")

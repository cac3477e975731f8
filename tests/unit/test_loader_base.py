"""What all loaders share: the model's folder, its snapshots and its configuration."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import yaml

pytest.importorskip("torch")

from dlc_deploy.errors import ConfigError, SnapshotError
from dlc_deploy.training.data.boxes import bbox_from_keypoints, clipped_boxes
from dlc_deploy.training.data.dlcloader import DLCLoader
from dlc_deploy.training.data.parameters import parameters_of
from dlc_deploy.training.data.snapshots import Snapshot, list_snapshots
from dlc_deploy.training.task import Task
from tests import training_projects as drawn

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("project") / "one"
    drawn.make_dlc_project(path, images=2, test=1, net_type="hrnet_w32", top_down=True)
    return path


@pytest.fixture
def loader(template, tmp_path):
    return DLCLoader(shutil.copytree(template, tmp_path / "one") / "config.yaml")


NAMES = """snapshot-010.pt snapshot-best-030.pt snapshot-1200.pt snapshot-020.pt
snapshot-detector-040.pt snapshot-detector-best-005.pt snapshot-x.pt snapshot-010.pth notes.txt"""


@pytest.fixture
def folder(tmp_path):
    for name in NAMES.split():
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("prefix", "best_in_last", "expected"),
    [
        ("snapshot", True, ["10", "20", "1200", "best-30"]),
        ("snapshot", False, ["10", "20", "best-30", "1200"]),
        ("snapshot-detector", True, ["40", "best-5"]),
        ("snapshot-detector", False, ["best-5", "40"]),
    ],
)
def test_snapshots_are_listed_by_epoch(folder, prefix, best_in_last, expected):
    found = list_snapshots(folder, prefix, best_in_last)
    assert [snapshot.uid() for snapshot in found] == expected
    assert all(snapshot.path.parent == folder for snapshot in found)


def test_no_folder_has_no_snapshots(tmp_path):
    assert list_snapshots(tmp_path / "none") == []


def test_snapshots_are_read_off_their_names():
    best = Snapshot.from_path("train/snapshot-detector-best-0120.pt")
    assert (best.best, best.epochs, best.uid()) == (True, 120, "best-120")
    with pytest.raises(SnapshotError, match=r"model\.pt: expected a name"):
        Snapshot.from_path("model.pt")


def test_snapshots_of_a_loader_are_its_models(loader):
    for name in NAMES.split():
        (loader.model_folder / name).touch()
    assert [one.uid() for one in loader.snapshots()] == ["10", "20", "1200", "best-30"]
    assert [one.uid() for one in loader.snapshots(detector=True)] == ["40", "best-5"]
    assert loader.snapshots(best_in_last=False)[-1].epochs == 1200


def test_a_changed_configuration_is_written(loader):
    before = yaml.safe_load(loader.model_config_path.read_text())
    loader.update_model_cfg({"train_settings.epochs": 7, "device": "cpu"})
    written = yaml.safe_load(loader.model_config_path.read_text())
    assert written == loader.model_cfg
    assert written["train_settings"] == before["train_settings"] | {"epochs": 7}
    assert written["device"] == "cpu"
    assert [path.name for path in loader.model_folder.iterdir()] == ["pytorch_config.yaml"]


def test_a_configuration_may_be_changed_for_the_loader_alone(loader):
    before = loader.model_config_path.read_text()
    loader.update_model_cfg({"train_settings.epochs": 7}, save_config=False)
    assert loader.model_cfg["train_settings"]["epochs"] == 7
    assert loader.model_config_path.read_text() == before


def test_a_section_that_is_not_there_changes_nothing(loader):
    before = loader.model_config_path.read_text()
    with pytest.raises(ConfigError, match="expected train_setings to be a section"):
        loader.update_model_cfg({"device": "cpu", "train_setings.epochs": 7})
    assert loader.model_config_path.read_text() == before
    assert loader.model_cfg["device"] == "auto"


def test_images_are_normalised_unless_the_configuration_says_otherwise(loader):
    content = yaml.safe_load(loader.model_config_path.read_text())
    del content["data"]["train"]["normalize_images"]
    content["data"]["inference"]["normalize_images"] = False
    loader.model_config_path.write_text(yaml.safe_dump(content))
    data = DLCLoader(loader.folders.root).model_cfg["data"]
    assert data["train"]["normalize_images"] is True
    assert data["inference"]["normalize_images"] is False


def test_a_configuration_without_a_method(loader):
    content = yaml.safe_load(loader.model_config_path.read_text())
    loader.model_config_path.write_text(yaml.safe_dump(content | {"method": "sideways"}))
    with pytest.raises(ConfigError, match="expected one of bu, dt, td, ctd, got 'sideways'"):
        DLCLoader(loader.folders.root)


def test_the_task_is_that_of_the_method(loader):
    assert loader.pose_task is Task.TOP_DOWN


CONFIG = {
    "method": "TD",
    "metadata": {"bodyparts": ["a", "b"], "unique_bodyparts": None, "individuals": ["m"]},
    "data": {"bbox_margin": 12, "train": {"top_down_crop": {"width": 64, "height": 32}}},
}


def test_parameters_are_those_of_the_configuration():
    crop = {"width": 64, "height": 32, "margin": 5, "crop_with_context": False}
    data = {"bbox_margin": 12, "colormode": "RGB", "train": {"top_down_crop": crop}}
    found = parameters_of(CONFIG | {"data": data, "with_center_keypoints": True})
    assert (found.bodyparts, found.unique_bpts, found.individuals) == (["a", "b"], [], ["m"])
    assert (found.num_joints, found.num_unique_bpts, found.max_num_animals) == (2, 0, 1)
    assert found.with_center_keypoints
    assert found.top_down_crop_size == (64, 32)
    assert found.top_down_crop_margin == 5
    assert not found.top_down_crop_with_context
    assert found.ctd_bbox_margin is None


@pytest.mark.parametrize(("data", "margin"), [(CONFIG["data"], 12), ({}, 25), (None, 25)])
def test_conditions_have_the_margin_of_boxes(data, margin):
    found = parameters_of(CONFIG | {"method": "CTD", "data": data})
    assert found.ctd_bbox_margin == margin


def test_crops_have_a_default_size():
    found = parameters_of(CONFIG | {"data": {"train": None}})
    assert found.top_down_crop_size == (256, 256)
    assert found.top_down_crop_with_context


@pytest.mark.parametrize("key", ["bodyparts", "individuals"])
def test_parameters_need_names(key):
    metadata = CONFIG["metadata"] | {key: []}
    with pytest.raises(ConfigError, match=f"metadata.{key}: expected names"):
        parameters_of(CONFIG | {"metadata": metadata})


def test_boxes_are_around_what_is_visible():
    pose = np.array([[30, 40, 2], [50, 45, 1], [5, 5, 0], [90, 90, -1]], float)
    assert bbox_from_keypoints(pose, 100, 200, 10).tolist() == [20, 30, 40, 25]


def test_boxes_end_at_the_image():
    pose = np.array([[3, 95, 2], [195, 96, 2]], float)
    assert bbox_from_keypoints(pose, 100, 200, 10).tolist() == [0, 85, 200, 15]


def test_boxes_of_many_and_of_nothing():
    poses = np.zeros((3, 2, 3))
    poses[1, 0] = 20, 30, 0.6
    poses[2, 0] = np.nan, 30, 0.6
    boxes = bbox_from_keypoints(poses, 100, 200, 4)
    assert boxes.tolist() == [[0, 0, 0, 0], [16, 26, 8, 8], [0, 0, 0, 0]]
    assert bbox_from_keypoints(np.zeros((0, 2, 3)), 100, 200, 4).shape == (0, 4)


def test_boxes_without_extent_are_dropped():
    boxes = np.array([[0, 0, 0, 5], [-9, 2, 5, 5], [-2, 2, 5, 5], [7, 2, -1, 5]], float)
    assert clipped_boxes(boxes, 100, 200).tolist() == [[0, 2, 3, 5]]

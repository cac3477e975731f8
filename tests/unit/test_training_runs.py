from __future__ import annotations

import csv
import dataclasses
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dlc_deploy.training.apis.train import train  # noqa: E402
from dlc_deploy.training.data.parameters import PoseDatasetParameters  # noqa: E402
from dlc_deploy.training.snapshots import load_snapshot  # noqa: E402
from dlc_deploy.training.task import Task  # noqa: E402
from tests import small, training_runs  # noqa: E402

pytestmark = pytest.mark.torch


def run(loader, task=Task.BOTTOM_UP, **options):
    options = {
        "transform": training_runs.noisy,
        "inference_transform": training_runs.plain,
    } | options
    train(loader, loader.model_cfg, task, from_scratch=True, **options)


def table_of(loader):
    with (loader.model_folder / "learning_stats.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_snapshots_in_deeplabcuts_layout_and_a_table(tmp_path):
    loader = training_runs.DrawnLoader(tmp_path)
    run(loader)
    names = {path.name for path in loader.model_folder.iterdir()}
    assert names == {
        "pytorch_config.yaml",
        "learning_stats.csv",
        "snapshot-001.pt",
        "snapshot-best-002.pt",
        "snapshot-003.pt",
    }
    content = torch.load(loader.model_folder / "snapshot-best-002.pt", weights_only=True)
    assert list(content) == ["metadata", "model", "scheduler"]
    metadata = content["metadata"]
    assert metadata["epoch"] == 2
    assert set(metadata["metrics"]) == {
        "metrics/test.rmse", "metrics/test.rmse_pcutoff", "metrics/test.mAP", "metrics/test.mAR"
    }  # fmt: skip
    rows = table_of(loader)
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    losses = ("bodypart_heatmap", "bodypart_locref", "bodypart_total_loss", "total_loss")
    named = {f"{mode}.{name}" for mode in ("train", "eval") for name in losses}
    assert set(rows[0]) == {"step", *(f"losses/{name}" for name in named), *metadata["metrics"]}
    assert set(metadata["losses"]) == named
    assert rows[0]["losses/eval.total_loss"] == "" != rows[1]["losses/eval.total_loss"]
    assert float(rows[1]["losses/train.total_loss"]) == metadata["losses"]["train.total_loss"]
    assert float(rows[2]["losses/train.total_loss"]) < float(rows[0]["losses/train.total_loss"])


def test_the_same_seed_trains_the_same_network_with_any_number_of_workers(tmp_path):
    weights = []
    for name, seed, workers in (("a", 1, 0), ("b", 1, 2), ("c", 2, 0)):
        content = training_runs.config(epochs=2, seed=seed, dataloader_workers=workers)
        loader = training_runs.DrawnLoader(tmp_path / name, content)
        run(loader)
        weights.append(load_snapshot(loader.model_folder / "snapshot-best-002.pt").model)
        torch.rand(1)
    once, again, other = weights
    assert all(torch.equal(once[key], again[key]) for key in once)
    assert not torch.equal(once["backbone.layers.0.weight"], other["backbone.layers.0.weight"])


def test_a_conditional_model_is_trained_on_crops_with_drawn_conditions(tmp_path):
    content = training_runs.config()
    content["method"] = "ctd"
    content["model"]["backbone"] = {"type": "SmallConditionalBackbone"}
    content["data"]["gen_sampling"] = {"keypoint_sigmas": 0.1}
    loader = training_runs.DrawnLoader(tmp_path, content)
    parameters = dataclasses.replace(
        loader.get_dataset_parameters(), top_down_crop_size=(32, 32), ctd_bbox_margin=5
    )
    loader.get_dataset_parameters = lambda: parameters
    run(loader, Task.COND_TOP_DOWN)
    rows = table_of(loader)
    assert float(rows[2]["losses/train.total_loss"]) < float(rows[0]["losses/train.total_loss"])
    # In pixels of the image: crops are of about a third of it.
    assert 0 < float(rows[1]["metrics/test.rmse"]) < 32


def test_unique_bodyparts_are_judged_beside_the_animals(tmp_path, monkeypatch):
    from dlc_deploy.training import metrics

    judged = []
    monkeypatch.setattr(metrics, "compute_metrics", lambda *v, **o: judged.append((v, o)) or {})
    content = training_runs.config(epochs=2)
    head = small.heatmap_head(1)
    head["target_generator"]["label_keypoint_key"] = "keypoints_unique"
    content["model"]["heads"]["unique_bodypart"] = head
    loader = training_runs.DrawnLoader(tmp_path, content)
    corner = np.array([[3, 5, 2]], np.float32)
    for mode, images in loader._labels.items():
        loader._labels[mode] = [dataclasses.replace(image, unique=corner) for image in images]
    parameters = PoseDatasetParameters(list(small.BODYPARTS), ["corner"], ["mouse"])
    loader.get_dataset_parameters = lambda: parameters
    run(loader)
    ((_, poses), options), *_ = judged
    assert [pose.shape for pose in poses.values()] == [(1, 3, 3)] * 2
    found = options["unique_bodypart_poses"]
    assert found.keys() == options["unique_bodypart_gt"].keys() == poses.keys()
    for name, truth in options["unique_bodypart_gt"].items():
        np.testing.assert_array_equal(truth, corner[None])
        assert found[name].shape == (1, 1, 3)


@pytest.mark.filterwarnings("error::UserWarning")
def test_no_more_workers_are_started_than_there_are_cores(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[train.__module__], "available_cores", lambda: 1)
    started = []
    original = torch.utils.data.DataLoader.__init__

    def watched(self, *values, **options):
        started.append(options.get("num_workers", 0))
        original(self, *values, **options)

    monkeypatch.setattr(torch.utils.data.DataLoader, "__init__", watched)
    run(training_runs.DrawnLoader(tmp_path, training_runs.config(epochs=1, dataloader_workers=64)))
    assert max(started) == 1


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_batch_norms_from_scratch_are_told(tmp_path, caplog, frozen):
    content = training_runs.config(epochs=1)
    loader = training_runs.DrawnLoader(tmp_path, content)
    backbone = training_runs.CertainBackbone
    before = backbone.__init__

    def init(self):
        before(self)
        self.freeze_bn_stats = frozen

    loader.model_cfg["model"]["backbone"] = {"type": "CertainBackbone"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbone, "__init__", init)
        run(loader)
    assert ("freeze_bn_stats: false" in caplog.text) == frozen

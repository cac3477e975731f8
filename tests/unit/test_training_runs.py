from __future__ import annotations

import csv

import pytest

torch = pytest.importorskip("torch")

from dlc_deploy.training.apis.train import train  # noqa: E402
from dlc_deploy.training.snapshots import load_snapshot  # noqa: E402
from dlc_deploy.training.task import Task  # noqa: E402
from tests import training_runs  # noqa: E402

pytestmark = pytest.mark.torch


def run(loader, **options):
    options = {
        "transform": training_runs.noisy,
        "inference_transform": training_runs.plain,
    } | options
    train(loader, loader.model_cfg, Task.BOTTOM_UP, from_scratch=True, **options)


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

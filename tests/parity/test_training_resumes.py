"""Training goes on from snapshots that DeepLabCut 3.0.2 wrote."""

from __future__ import annotations

import pytest
import yaml

torch = pytest.importorskip("torch")

from dlc_deploy.training.models import PoseModel  # noqa: E402
from dlc_deploy.training.runners import build_training_runner  # noqa: E402
from dlc_deploy.training.runners.csv_log import CSVLogger  # noqa: E402
from dlc_deploy.training.task import Task  # noqa: E402
from tests.reference import REFERENCE, needs_reference  # noqa: E402

pytestmark = [pytest.mark.torch, needs_reference]
(FOLDER,) = (REFERENCE / "openfield" / "dlc-models-pytorch" / "iteration-0").glob("*shuffle2/train")


def test_epoch_and_learning_rate_are_those_of_the_snapshot(tmp_path):
    config = yaml.safe_load((FOLDER / "pytorch_config.yaml").read_text())
    runner = build_training_runner(
        config["runner"],
        tmp_path,
        Task.TOP_DOWN,
        PoseModel.build(config["model"]),
        "cpu",
        snapshot_path=FOLDER / "snapshot-132.pt",
    )
    saved = torch.load(FOLDER / "snapshot-132.pt", weights_only=True)
    assert runner.starting_epoch == 132
    assert runner.optimizer.param_groups[0]["lr"] == 6e-5
    assert runner.scheduler.state_dict() == saved["scheduler"]
    weights = runner.model.state_dict()
    assert all(torch.equal(weights[key], saved["model"][key]) for key in saved["model"])
    assert list(runner.state_dict()) == ["metadata", "model", "optimizer", "scheduler"]


@pytest.mark.parametrize("name", ["learning_stats.csv", "learning_stats_detector.csv"])
def test_deeplabcuts_table_is_continued_as_it_is(tmp_path, name):
    text = (FOLDER / name).read_text()
    (tmp_path / name).write_text(text)
    last = int(text.splitlines()[-1].partition(",")[0])
    CSVLogger.open(tmp_path / name, until=last).log({"losses/train.total_loss": 0.5}, step=last + 1)
    lines = (tmp_path / name).read_text().splitlines()
    assert lines[:-1] == text.splitlines()
    values = dict(zip(lines[0].split(","), lines[-1].split(","), strict=True))
    assert {name: value for name, value in values.items() if value} == {
        "step": str(last + 1), "losses/train.total_loss": "0.5"
    }  # fmt: skip

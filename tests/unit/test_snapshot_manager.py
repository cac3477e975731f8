from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from dlc_deploy.errors import ConfigError  # noqa: E402
from dlc_deploy.training.runners import TorchSnapshotManager  # noqa: E402

pytestmark = pytest.mark.torch


def saved(folder, metrics, **settings):
    """Names in ``folder`` after epochs with these metrics (None: not evaluated)."""
    settings = {"key_metric": "test.mAP", "max_snapshots": 2, "save_epochs": 2} | settings
    manager = TorchSnapshotManager("snapshot", folder, **settings)
    for epoch, metric in enumerate(metrics, 1):
        found = {} if metric is None else {"metrics/test.mAP": metric}
        state = {
            "metadata": {"epoch": epoch, "metrics": found, "losses": {}},
            "model": {"weight": torch.ones(1)},
            "optimizer": {"state": {}},
        }
        manager.update(epoch, state, last=epoch == len(metrics))
    return manager, sorted(path.name for path in folder.iterdir())


def test_every_few_epochs_and_the_last_are_kept(tmp_path):
    _, names = saved(tmp_path, [None] * 7)
    assert names == ["snapshot-006.pt", "snapshot-007.pt"]
    assert set(torch.load(tmp_path / names[0], weights_only=True)) == {"metadata", "model"}


def test_the_best_one_is_kept_beside_them(tmp_path):
    manager, names = saved(tmp_path, [1, 3, 2, math.nan, 2])
    assert names == ["snapshot-004.pt", "snapshot-005.pt", "snapshot-best-002.pt"]
    assert manager.best().epochs == 2 and manager.last().epochs == 5
    assert [one.epochs for one in manager.snapshots()] == [4, 5, 2]
    assert [one.epochs for one in manager.snapshots(best_in_last=False)] == [2, 4, 5]


def test_a_former_best_becomes_a_plain_one_if_its_epoch_is_kept(tmp_path):
    assert saved(tmp_path, [1, 2, 3])[1] == ["snapshot-002.pt", "snapshot-best-003.pt"]
    manager = TorchSnapshotManager("snapshot-detector", tmp_path)
    assert manager.best() is None and manager.last() is None


def test_smaller_may_be_better(tmp_path):
    names = saved(tmp_path, [3, 1, 2], key_metric_asc=False)[1]
    assert names == ["snapshot-003.pt", "snapshot-best-002.pt"]


def test_the_optimizers_state_may_be_kept(tmp_path):
    saved(tmp_path, [None], save_optimizer_state=True)
    assert "optimizer" in torch.load(tmp_path / "snapshot-001.pt", weights_only=True)


def test_snapshots_of_an_earlier_and_longer_run_do_not_push_out_new_ones(tmp_path):
    for epoch in (100, 200):
        (tmp_path / f"snapshot-{epoch}.pt").touch()
    names = saved(tmp_path, [None] * 2)[1]
    assert names == ["snapshot-002.pt", "snapshot-100.pt", "snapshot-200.pt"]


def test_names_have_three_digits_or_more(tmp_path):
    manager = TorchSnapshotManager("snapshot-detector", tmp_path)
    assert manager.snapshot_path(7).name == "snapshot-detector-007.pt"
    assert manager.snapshot_path(1234, best=True).name == "snapshot-detector-best-1234.pt"


@pytest.mark.parametrize("settings", [{"max_snapshots": 0}, {"save_epochs": 0}])
def test_numbers_that_keep_nothing_are_refused(tmp_path, settings):
    with pytest.raises(ConfigError, match="from 1 on"):
        TorchSnapshotManager("snapshot", tmp_path, **settings)

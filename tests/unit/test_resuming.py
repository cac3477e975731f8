from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")

from dlc_deploy.errors import ConfigError, DlcDeployError, SnapshotError  # noqa: E402
from dlc_deploy.training.apis.train import train  # noqa: E402
from dlc_deploy.training.runners.base import TrainingRunner  # noqa: E402
from dlc_deploy.training.task import Task  # noqa: E402
from tests import training_runs  # noqa: E402

pytestmark = pytest.mark.torch


class Interrupted:
    """A transform that raises when it has seen so many images."""

    def __init__(self, images, error=KeyboardInterrupt):
        self.left = images
        self.error = error

    def __call__(self, drawn):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return training_runs.noisy(drawn)


def run(loader, transform=training_runs.noisy, **options):
    options = {"from_scratch": True, "inference_transform": training_runs.plain} | options
    train(loader, loader.model_cfg, Task.BOTTOM_UP, transform=transform, **options)


def loader_in(folder, **train_settings):
    content = training_runs.config(epochs=4, **train_settings)
    content["runner"]["snapshots"] |= {"max_snapshots": 2}
    return training_runs.DrawnLoader(folder, content)


def files_of(loader):
    """Every file that a run left, with its content."""
    found = {}
    for path in loader.model_folder.iterdir():
        if path.suffix == ".pt":
            found[path.name] = torch.load(path, weights_only=True)
        else:
            found[path.name] = path.read_text()
    return found


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        if not name.endswith(".pt"):
            assert found[name] == expected[name]
            continue
        for part in ("metadata", "scheduler"):
            assert repr(found[name][part]) == repr(expected[name][part])
        weights = expected[name]["model"]
        assert all(torch.equal(found[name]["model"][key], weights[key]) for key in weights)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    loader = loader_in(tmp_path_factory.mktemp("undisturbed"))
    run(loader)
    return files_of(loader)


def test_an_interrupted_run_goes_on_and_ends_as_the_undisturbed_one(tmp_path, undisturbed):
    loader = loader_in(tmp_path)
    for images in (7, 3, 8):  # in the second epoch, in the second again, in the third
        with pytest.raises(KeyboardInterrupt):
            run(loader, Interrupted(images))
        assert (loader.model_folder / "unfinished-snapshot.pt").is_file()
        assert not list(loader.model_folder.glob(".*"))
    run(loader)
    assert_same(files_of(loader), undisturbed)


def test_a_run_killed_before_its_first_state_is_not_taken_for_a_complete_one(
    tmp_path, undisturbed, monkeypatch
):
    loader = loader_in(tmp_path)

    def killed(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrainingRunner, "_whole_state", killed)
        with pytest.raises(KeyboardInterrupt):
            run(loader)
    left = files_of(loader)
    assert "snapshot-001.pt" in left or "snapshot-best-001.pt" in left
    assert "unfinished-snapshot.pt" in left
    run(loader)
    assert_same(files_of(loader), undisturbed)


def test_a_complete_run_leaves_no_state_and_the_next_one_begins_anew(tmp_path, undisturbed):
    loader = loader_in(tmp_path)
    for _ in range(2):
        run(loader)
        assert_same(files_of(loader), undisturbed)


def test_other_settings_or_labels_are_told_by_name_and_nothing_is_lost(tmp_path):
    loader = loader_in(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(loader, Interrupted(7))
    before = files_of(loader)
    same = copy.deepcopy(loader.model_cfg)
    loader.model_cfg["runner"]["optimizer"]["params"]["lr"] = 1.0
    with pytest.raises(ConfigError, match=r"epoch 1, but changed .*: runner\. Undo .* restart"):
        run(loader)
    loader.model_cfg = same
    loader._labels["train"] = loader._labels["train"][1:]
    with pytest.raises(ConfigError, match="changed since it was started: labels of the train set"):
        run(loader)
    assert files_of(loader).keys() == before.keys()
    with pytest.raises(KeyboardInterrupt):
        run(loader, Interrupted(0), restart=True)
    assert "unfinished-snapshot.pt" not in files_of(loader)  # that run was given up
    run(loader)


def test_what_does_not_change_the_result_may_change(tmp_path, undisturbed):
    loader = loader_in(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(loader, Interrupted(7))
    loader.model_cfg["train_settings"] |= {"display_iters": 1, "dataloader_pin_memory": None}
    run(loader)
    assert_same(files_of(loader), undisturbed)


def test_a_damaged_state_is_told(tmp_path):
    loader = loader_in(tmp_path)
    path = loader.model_folder / "unfinished-snapshot.pt"
    path.write_bytes(b"half")
    with pytest.raises(SnapshotError, match=r"cannot be read .* restart, or remove it"):
        run(loader)


def test_a_loss_that_is_no_number_names_epoch_step_and_images(tmp_path):
    loader = loader_in(tmp_path)
    seen = 0

    def broken(drawn):
        nonlocal seen
        seen += 1
        drawn = training_runs.noisy(drawn)
        return drawn | {"image": drawn["image"] * float("nan")} if seen == 8 else drawn

    message = r"stopped at epoch 2, step 2: expected a finite loss, got nan. .*img\d+\.png, .*img"
    with pytest.raises(DlcDeployError, match=message):
        run(loader, broken)
    assert (loader.model_folder / "snapshot-001.pt").is_file()


def test_epochs_after_a_snapshot_are_extra_and_its_schedule_goes_on(tmp_path):
    loader = loader_in(tmp_path)
    loader.model_cfg["runner"]["snapshots"]["save_optimizer_state"] = True
    loader.model_cfg["runner"]["eval_interval"] = 0
    run(loader)
    first = torch.load(loader.model_folder / "snapshot-004.pt", weights_only=True)
    assert first["scheduler"]["last_epoch"] == 4
    # The snapshot's learning rates win over those of the configuration.
    loader.model_cfg["runner"]["scheduler"]["params"] = {"milestones": [5], "lr_list": [[0.5]]}
    loader.model_cfg["train_settings"]["epochs"] = 2
    run(loader, snapshot_path=loader.model_folder / "snapshot-004.pt")
    second = torch.load(loader.model_folder / "snapshot-006.pt", weights_only=True)
    assert second["metadata"]["epoch"] == 6
    assert second["scheduler"] | {"_last_lr": 0} == first["scheduler"] | {
        "last_epoch": 6, "_step_count": 7, "_last_lr": 0
    }  # fmt: skip
    assert second["optimizer"]["param_groups"][0]["lr"] == 1e-3
    steps = [int(first["optimizer"]["state"][0]["step"]) for first in (first, second)]
    assert steps == [12, 18]
    table = (loader.model_folder / "learning_stats.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in table[1:]] == ["1", "2", "3", "4", "5", "6"]


def test_the_heads_of_a_snapshot_may_be_left_out(tmp_path):
    loader = loader_in(tmp_path)
    loader.model_cfg["runner"]["eval_interval"] = 0
    run(loader)
    path = loader.model_folder / "snapshot-004.pt"
    content = torch.load(path, weights_only=True)
    heads = {key for key in content["model"] if key.startswith("heads.")}
    content["model"] = {k: v for k, v in content["model"].items() if k not in heads}
    torch.save(content, path)
    with pytest.raises(SnapshotError, match="missing"):
        run(loader, snapshot_path=path)
    loader.model_cfg["runner"]["optimizer"]["params"]["lr"] = 0.0
    loader.model_cfg["runner"]["scheduler"] = None
    run(loader, snapshot_path=path, load_head_weights=False)
    key = "backbone.layers.0.weight"
    after = training_runs.weights_of(loader.model_folder / "snapshot-008.pt")
    assert torch.equal(after[key], content["model"][key])

from __future__ import annotations

import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from dlc_deploy.errors import OutputError, SnapshotError  # noqa: E402
from dlc_deploy.training.snapshots import (  # noqa: E402
    load_snapshot,
    load_weights,
    save_snapshot,
)

pytestmark = pytest.mark.torch


@pytest.fixture
def module():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


@pytest.fixture
def content(module):
    return {
        "metadata": {"epoch": 50, "metrics": {"test.rmse": 3.5}, "losses": {"train.loss": 0.1}},
        "model": module.state_dict(),
        "scheduler": {"last_epoch": 50},
    }


def assert_same(found, expected):
    assert list(found) == list(expected) and len(found) == 7
    for key, value in expected.items():
        assert torch.equal(found[key], value)


def test_a_snapshot_of_deeplabcut_comes_back_with_its_weights_and_metadata(tmp_path, content):
    torch.save(content, tmp_path / "snapshot-050.pt")
    snapshot = load_snapshot(tmp_path / "snapshot-050.pt")
    assert_same(snapshot.model, content["model"])
    assert snapshot.metadata == content["metadata"]
    assert snapshot.detector is None and snapshot.config is None


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64])
def test_metrics_of_older_releases_are_numpy_numbers(tmp_path, content, kind):
    content["metadata"]["metrics"]["test.rmse"] = kind(3)
    torch.save(content, tmp_path / "snapshot-050.pt")
    snapshot = load_snapshot(tmp_path / "snapshot-050.pt")
    assert_same(snapshot.model, content["model"])
    assert snapshot.metadata["metrics"]["test.rmse"] == 3


def test_a_snapshot_without_metadata_is_one(tmp_path, content):
    torch.save({"model": content["model"]}, tmp_path / "snapshot.pt")
    assert load_snapshot(tmp_path / "snapshot.pt").metadata == {}


@pytest.mark.parametrize("with_detector", [False, True])
def test_the_single_file_of_an_export_holds_configuration_pose_and_detector(
    tmp_path, module, with_detector
):
    state = module.state_dict()
    config = {"net_type": "small", "data": {"inference": {"resize": None}}}
    detector = OrderedDict(weight=torch.ones(2))
    exported = {"config": config, "pose": state}
    if with_detector:
        exported["detector"] = detector
    torch.save(exported, tmp_path / "export.pt")
    snapshot = load_snapshot(tmp_path / "export.pt")
    assert_same(snapshot.model, state)
    assert snapshot.config == config
    assert (snapshot.detector is not None) == with_detector


def test_a_detector_of_an_export_must_be_a_state_dict(tmp_path, module):
    exported = {"config": {}, "pose": module.state_dict(), "detector": "snapshot-detector.pt"}
    torch.save(exported, tmp_path / "export.pt")
    with pytest.raises(SnapshotError, match=r"export\.pt: .*detector is no state dict"):
        load_snapshot(tmp_path / "export.pt")


@pytest.mark.parametrize("kept", [0, 1, 10, 100, -100, -1])
def test_a_truncated_snapshot_is_refused(tmp_path, content, kept):
    path = tmp_path / "snapshot-050.pt"
    torch.save(content, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(SnapshotError, match=r"snapshot-050\.pt: expected a DeepLabCut 3 snapshot"):
        load_snapshot(path)


@pytest.mark.parametrize("text", [b"epoch: 50\n", b"\x89PNG\r\n\x1a\n" + bytes(200), b"\x80\x02."])
def test_a_file_of_another_kind_is_refused(tmp_path, text):
    (tmp_path / "notes.pt").write_bytes(text)
    with pytest.raises(SnapshotError, match=r"notes\.pt: expected a DeepLabCut 3 snapshot"):
        load_snapshot(tmp_path / "notes.pt")


def test_no_damage_to_a_file_ends_otherwise_than_in_a_snapshot_or_a_refusal(tmp_path, content):
    path = tmp_path / "snapshot-050.pt"
    torch.save(content, path)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(100):
        damaged = whole.copy()
        damaged[random.integers(0, len(whole), 20)] = random.integers(0, 256, 20)
        path.write_bytes(damaged.tobytes())
        try:
            load_snapshot(path)
        except SnapshotError:
            refused += 1
    assert refused > 20


class Foreign:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("write", [torch.save, lambda o, path: path.write_bytes(pickle.dumps(o))])
def test_foreign_code_in_a_snapshot_is_not_run(tmp_path, content, write):
    trace = tmp_path / "trace"
    write({**content, "extra": Foreign(trace)}, tmp_path / "snapshot-050.pt")
    with pytest.raises(SnapshotError, match="not loaded, since that could run foreign code"):
        load_snapshot(tmp_path / "snapshot-050.pt")
    assert not trace.exists()
    torch.load(tmp_path / "snapshot-050.pt", weights_only=False) if write is torch.save else (
        pickle.loads((tmp_path / "snapshot-050.pt").read_bytes())
    )
    assert trace.exists()  # so it would have been seen


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ([1, 2], "a list"),
        ({"weights": 1, "epoch": 2}, r"keys \['epoch', 'weights'\]"),
        ({"model": {}}, r"keys \['model'\]"),
        ({"model": {"weight": 3}}, r"keys \['model'\]"),
        ({"pose": {"weight": torch.ones(1)}}, r"keys \['pose'\]"),
    ],
)
def test_other_content_is_refused_with_what_it_is(tmp_path, content, got):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(SnapshotError, match=rf"other\.pt: expected .*, got {got}"):
        load_snapshot(tmp_path / "other.pt")


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(SnapshotError, match="found nothing there"):
        load_snapshot(tmp_path / "none.pt")
    with pytest.raises(SnapshotError, match="found a folder"):
        load_snapshot(tmp_path)


def test_weights_of_the_same_model_are_loaded(module):
    state = {key: torch.ones_like(value) for key, value in module.state_dict().items()}
    load_weights(module, state, "snapshot.pt")
    assert_same(module.state_dict(), state)


def test_weights_of_another_model_are_refused_by_name_and_change_nothing(module):
    before = {key: value.clone() for key, value in module.state_dict().items()}
    state = dict(before)
    del state["1.running_mean"]
    state["2.weight"] = torch.ones(1)
    state["0.weight"] = torch.ones(8, 3, 3, 3)
    with pytest.raises(SnapshotError) as error:
        load_weights(module, state, "snapshot.pt")
    message = str(error.value)
    assert message.startswith("snapshot.pt: the weights do not fit the configuration")
    assert "1 missing (1.running_mean)" in message
    assert "1 unexpected (2.weight)" in message
    assert "1 of another shape (0.weight [8, 3, 3, 3] instead of [4, 3, 3, 3])" in message
    assert "--config" in message
    assert_same(module.state_dict(), before)


@pytest.mark.parametrize("change", ["missing", "unexpected", "of another shape"])
def test_one_wrong_key_is_enough(module, change):
    state = dict(module.state_dict())
    if change == "missing":
        del state["0.bias"]
    else:
        state["0.bias" if change == "of another shape" else "2.bias"] = torch.ones(7)
    with pytest.raises(SnapshotError, match=f"1 {change}"):
        load_weights(module, state, "snapshot.pt")


def test_a_long_list_of_wrong_keys_is_cut(module):
    with pytest.raises(SnapshotError, match=r"7 missing \((\S+, ){4}\.\.\.\)"):
        load_weights(module, {}, "snapshot.pt")


def test_a_saved_snapshot_comes_back(tmp_path, content):
    save_snapshot(tmp_path / "snapshot-050.pt", content)
    assert_same(load_snapshot(tmp_path / "snapshot-050.pt").model, content["model"])
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot-050.pt"]


def test_a_save_that_fails_leaves_the_older_snapshot_whole(tmp_path, content, monkeypatch):
    path = tmp_path / "snapshot-050.pt"
    save_snapshot(path, content)
    before = path.read_bytes()

    def fail(obj, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OutputError, match="No space left"):
        save_snapshot(path, {"model": {}})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]

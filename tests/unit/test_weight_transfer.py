"""Fine-tuning from the snapshot of another project."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from dlc_deploy.errors import ConfigError, SnapshotError  # noqa: E402
from dlc_deploy.training.models import PoseModel  # noqa: E402
from dlc_deploy.training.models.detectors import DETECTORS  # noqa: E402
from dlc_deploy.training.models.heads.conversion import (  # noqa: E402
    convert_maps,
    convert_relative_bias,
)
from dlc_deploy.training.models.heads.rtmcc_head import RTMCCHead  # noqa: E402
from dlc_deploy.training.models.weight_transfer import WeightInitialization  # noqa: E402
from dlc_deploy.training.snapshots import save_snapshot  # noqa: E402
from tests import small  # noqa: E402

pytestmark = pytest.mark.torch
MANY = 5  # bodyparts of the snapshot
CHOSEN = [4, 0, 2]


def config(keypoints):
    content = small.config()
    content["model"]["heads"]["bodypart"] = small.heatmap_head(keypoints)
    return content


@pytest.fixture(scope="module")
def source():
    return small.model(config(MANY), seed=5)


@pytest.fixture
def snapshot(source, tmp_path):
    path = tmp_path / "superanimal.pt"
    save_snapshot(path, small.snapshot_of(source))
    return path


def build(**section):
    torch.manual_seed(0)
    section = WeightInitialization.from_dict(section)
    return PoseModel.build(config(len(CHOSEN))["model"], section)


def weights(model, part):
    return {key: value for key, value in model.state_dict().items() if key.startswith(part)}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_the_backbone_is_taken_and_the_head_is_new(source, snapshot):
    model = build(snapshot_path=str(snapshot))
    assert same(weights(model, "backbone"), weights(source, "backbone"))
    torch.manual_seed(0)
    fresh = PoseModel.build(config(len(CHOSEN))["model"])
    assert same(weights(model, "heads"), weights(fresh, "heads"))
    assert not same(weights(fresh, "backbone"), weights(source, "backbone"))


def test_heads_keep_the_chosen_bodyparts_in_the_projects_order(source, snapshot):
    model = build(
        snapshot_path=snapshot,
        with_decoder=True,
        memory_replay=False,
        conversion_array=CHOSEN,
        bodyparts=["a", "b", "c"],
        dataset="superanimal_quadruped",
    ).eval()
    images = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        found, given = model(images)["bodypart"], source(images)["bodypart"]
    torch.testing.assert_close(found["heatmap"], given["heatmap"][:, CHOSEN])
    pairs = [8, 9, 0, 1, 4, 5]
    torch.testing.assert_close(found["locref"], given["locref"][:, pairs])


def test_the_last_of_several_layers_chooses():
    state = {
        "m.deconv_layers.0.weight": torch.rand(3, 4, 2, 2),
        "m.deconv_layers.0.bias": torch.rand(4),
        "m.deconv_layers.2.weight": torch.rand(4, MANY, 2, 2),
        "m.deconv_layers.2.bias": torch.rand(MANY),
    }
    converted = convert_maps(state, "m", CHOSEN)
    assert torch.equal(converted["m.deconv_layers.0.weight"], state["m.deconv_layers.0.weight"])
    assert torch.equal(
        converted["m.deconv_layers.2.weight"], state["m.deconv_layers.2.weight"][:, CHOSEN]
    )
    assert torch.equal(converted["m.deconv_layers.2.bias"], state["m.deconv_layers.2.bias"][CHOSEN])
    final = {
        "m.final_conv.weight": torch.rand(MANY, 4, 1, 1),
        "m.final_conv.bias": torch.rand(MANY),
    }
    converted = convert_maps(state | final, "m", CHOSEN)
    assert torch.equal(converted["m.deconv_layers.2.bias"], state["m.deconv_layers.2.bias"])
    assert torch.equal(converted["m.final_conv.weight"], final["m.final_conv.weight"][CHOSEN])


def test_rtmposes_head_chooses_the_maps_and_the_distances_between_them():
    state = {
        "final_layer.weight": torch.rand(MANY, 3, 7, 7),
        "final_layer.bias": torch.rand(MANY),
        "gau.w": torch.arange(9.0),
        "cls_x.weight": torch.rand(4, 3),
    }
    converted = RTMCCHead.convert_weights(object.__new__(RTMCCHead), state, CHOSEN)
    assert torch.equal(converted["final_layer.weight"], state["final_layer.weight"][CHOSEN])
    assert torch.equal(converted["final_layer.bias"], state["final_layer.bias"][CHOSEN])
    assert torch.equal(converted["cls_x.weight"], state["cls_x.weight"])
    # Distance 1 of the new order: 0 - 4 and 2 - 0, places 0 and 6 of the bias; distance 2: 2 - 4.
    assert converted["gau.w"].tolist() == [6, (8 + 2) / 2, 4, (0 + 6) / 2, 2]


def test_the_order_of_the_snapshot_keeps_the_bias():
    bias = torch.rand(2 * MANY - 1)
    torch.testing.assert_close(convert_relative_bias(bias, range(MANY)), bias)


def test_a_detector_starts_from_its_snapshot(tmp_path):
    content = small.config(top_down=True)
    given = small.detector(content, finds=True)
    path = tmp_path / "detector.pt"
    save_snapshot(path, small.snapshot_of(given))
    section = WeightInitialization.from_dict(
        {"snapshot_path": None, "detector_snapshot_path": str(path)}
    )
    built = DETECTORS.build(content["detector"]["model"], section)
    assert same(built.state_dict(), given.state_dict())
    model = PoseModel.build(content["model"], section)
    assert not same(weights(model, "backbone"), weights(small.model(content), "backbone"))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"memory_replay": True, "with_decoder": True}, "memory_replay false, got true.*fine-tune"),
        ({"with_decoder": True}, "with_decoder needs conversion_array"),
        ({"bodyparts": ["a", "b"], "conversion_array": [1]}, "each of 2 bodyparts, got \\[1\\]"),
        ({"freeze": True}, "got freeze, snapshot_path"),
    ],
)
def test_sections_that_cannot_be_are_refused(section, message):
    with pytest.raises(ConfigError, match=message):
        WeightInitialization.from_dict({"snapshot_path": "a.pt"} | section)


def test_sections_of_old_releases_are_refused():
    with pytest.raises(ConfigError, match="add snapshot_path"):
        WeightInitialization.from_dict({"dataset": "superanimal_quadruped", "with_decoder": False})


@pytest.mark.parametrize("places", [[4, 0, 5], [4, -1, 0]])
def test_bodyparts_that_the_snapshot_lacks_are_told(snapshot, places):
    with pytest.raises(ConfigError, match="from 0 to below 5"):
        build(snapshot_path=snapshot, with_decoder=True, conversion_array=places)


def test_another_number_of_bodyparts_is_told(snapshot):
    with pytest.raises(SnapshotError, match=r"head bodypart.*instead of \[8, 3"):
        build(snapshot_path=snapshot, with_decoder=True, conversion_array=[1, 2])


def test_another_backbone_is_told(snapshot):
    content = small.config()["model"] | {"backbone": {"type": "ResNet", "model_name": "resnet10t"}}
    with pytest.raises(SnapshotError, match=r"superanimal.pt \(backbone\).*missing"):
        PoseModel.build(content, WeightInitialization(snapshot))


def test_heads_that_cannot_choose_are_told(snapshot, tmp_path):
    content = small.config()
    small.several(content)
    with pytest.raises(ConfigError, match=r"DLCRNetHead.*Set with_decoder to false"):
        PoseModel.build(
            content["model"],
            WeightInitialization(snapshot, with_decoder=True, conversion_array=(0, 1, 2)),
        )

"""Conditional top-down models against DeepLabCut's: same weights, same tensors, same conditions."""

from __future__ import annotations

import numpy as np
import pytest

from tests import families
from tests.reference import REFERENCE, needs_reference

torch = pytest.importorskip("torch")

from dlc_deploy.config import PoseConfig  # noqa: E402
from dlc_deploy.manifest import Manifest, Origin  # noqa: E402
from dlc_deploy.manifest import PoseGraph as PoseEntry  # noqa: E402
from dlc_deploy.poses import Poses  # noqa: E402
from dlc_deploy.preprocessing import ConditionPreprocessing  # noqa: E402
from dlc_deploy.runtime.pipelines import ConditionalTopDown  # noqa: E402
from dlc_deploy.training.inference.graphs import PoseGraph  # noqa: E402
from dlc_deploy.training.inference.torch_engine import TorchEngine  # noqa: E402
from dlc_deploy.training.models import PoseModel  # noqa: E402
from dlc_deploy.training.models.modules.kpt_encoders import (  # noqa: E402
    ColoredKeypointEncoder,
    StackedKeypointEncoder,
)

pytestmark = [needs_reference, pytest.mark.torch]
NAMES = ("ctd_coam_w32", "ctd_prenet_hrnet_w32", "ctd_prenet_rtmpose_s")
MIN_SCORE = 0.05
# The contract of an fp32 engine.
TOLERANCE_PX = 0.01
# float32 against DeepLabCut's float64, of 255
ROUNDING = 1e-4


@pytest.fixture(params=NAMES, scope="module")
def family(request):
    config = PoseConfig.from_yaml(families.folder(request.param) / "pytorch_config.yaml")
    model = PoseModel.build(config.model.model_dump(), pretrained_backbone=False).eval()
    state = {key: torch.from_numpy(value) for key, value in families.weights(request.param).items()}
    model.load_state_dict(model.state_dict() | state)
    return config, model, np.load(families.folder(request.param) / "output.npz")


@pytest.fixture(scope="module")
def outputs(family):
    _, model, arrays = family
    images = torch.from_numpy(arrays["preprocessed"])
    with torch.inference_mode():
        return model(images, cond_kpts=torch.from_numpy(arrays["cond_kpts_model"]))["bodypart"]


def test_all_conditional_families_are_compared_here():
    folders = {folder.name for folder in (REFERENCE / "families").glob("ctd_*")}
    assert folders == set(NAMES)


def test_the_state_dict_has_deeplabcuts_keys_shapes_and_order(family):
    config, model, _ = family
    ours = [(key, list(value.shape)) for key, value in model.state_dict().items()]
    assert ours == [(e["key"], e["shape"]) for e in families.entries(config.net_type)]


def test_conditions_become_deeplabcuts_images(family):
    _, model, arrays = family
    conditions = torch.from_numpy(arrays["cond_kpts_model"])[:, 0]
    images = model.backbone.cond_enc(conditions, (256, 256)).permute(0, 2, 3, 1)
    assert arrays["cond_heatmap"].max() == 255
    np.testing.assert_allclose(images, arrays["cond_heatmap"], rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(
    ("kind", "name"), [(StackedKeypointEncoder, "stacked"), (ColoredKeypointEncoder, "colored")]
)
def test_keypoints_at_borders_become_deeplabcuts_images(kind, name):
    arrays = np.load(REFERENCE / "preprocess" / "condition_encoders.npz")
    keypoints = torch.from_numpy(arrays["keypoints"])
    images = kind(num_joints=4)(keypoints, (256, 256)).permute(0, 2, 3, 1)
    assert np.isnan(arrays["keypoints"]).any() and arrays[name].max() == 255
    np.testing.assert_allclose(images, arrays[name], rtol=0, atol=ROUNDING)


def test_raw_outputs_are_deeplabcuts(family, outputs):
    _, _, arrays = family
    expected = {key.split("/")[2]: arrays[key] for key in arrays.files if key.startswith("raw/")}
    assert expected and outputs.keys() == expected.keys()
    for name, value in expected.items():
        assert value.std() > 1e-4
        # random networks amplify rounding: DeepLabCut against itself needs a third of this
        tolerance = 2e-3 * float(value.std())
        np.testing.assert_allclose(outputs[name], value, rtol=0, atol=tolerance)


def test_a_whole_pass_gives_deeplabcuts_poses(family, outputs):
    _, model, arrays = family
    poses = model.get_predictions({"bodypart": outputs})["bodypart"]["poses"].numpy()
    expected = arrays["pred/bodypart/poses"]
    sure = expected[..., 2] >= MIN_SCORE
    assert sure.sum() >= 4 and expected[..., :2].std() > 10
    distance = np.linalg.norm(poses[..., :2] - expected[..., :2], axis=-1)
    # locref has a standard deviation of half a unit of 7.28 px, of which 2e-3 may differ
    assert distance[sure].max() <= 0.05
    np.testing.assert_allclose(poses[..., 2], expected[..., 2], atol=1e-3)


def pipeline(config, engine):
    inference = config.data.inference
    crop = inference.top_down_crop.preprocessing()
    entry = PoseEntry(
        file="p",
        precision="fp32",
        size=(crop.height, crop.width),
        normalization=inference.normalization(),
        crop=crop,
        condition=ConditionPreprocessing(bbox_margin=config.data.bbox_margin),
    )
    manifest = Manifest(
        method="ctd",
        net_type=config.net_type,
        scorer="",
        bodyparts=tuple(config.metadata.bodyparts),
        individuals=tuple(config.metadata.individuals),
        max_individuals=3,
        pose=entry,
        origin=Origin(snapshot=""),
        tools={},
        created="",
        files={},
    )
    return ConditionalTopDown(manifest, engine, 3, None)


def refined(config, engine):
    """Poses of both images by the conditions of each, and DeepLabCut's, -1 where absent."""
    given = np.load(families.folder(config.net_type) / "input.npz")
    conditions = np.full((2, 2, 4, 3), np.nan, np.float32)
    for frame in range(2):
        poses = given[f"cond_kpts_{frame}"]
        conditions[frame, : len(poses)] = poses
    poses = Poses(conditions[..., :2], conditions[..., 2])
    found = pipeline(config, engine).refine(given["images"], poses)
    return np.concatenate([found.xy, found.score[..., None]], -1)


def assert_deeplabcuts(found, arrays):
    expected = np.stack([arrays[f"final_{frame}/bodyparts"] for frame in range(2)])
    present = expected[..., 2] >= 0
    assert present.sum() == 3 * 4 and expected[present][:, :2].std() > 10
    assert (arrays["pred/bodypart/poses"][..., 2] >= MIN_SCORE).all()
    assert np.isnan(found[~present]).all()
    distance = np.linalg.norm(found[present][:, :2] - expected[present][:, :2], axis=-1)
    assert distance.max() <= TOLERANCE_PX
    np.testing.assert_allclose(found[present][:, 2], expected[present][:, 2], atol=1e-3)


def test_images_and_conditions_become_deeplabcuts_poses(family):
    config, model, arrays = family
    graph = PoseGraph(model, config.data.inference.normalization())
    assert_deeplabcuts(refined(config, TorchEngine(graph)), arrays)

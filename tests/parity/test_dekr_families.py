"""DEKR against DeepLabCut's: the predictor with each of its options, and the graph that is
exported."""

from __future__ import annotations

import numpy as np
import pytest

from tests import families
from tests.reference import REFERENCE, needs_reference

torch = pytest.importorskip("torch")

from dlc_deploy.config import PoseConfig  # noqa: E402
from dlc_deploy.exporters.rewrites import rewrite_operators  # noqa: E402
from dlc_deploy.training.models import PoseModel  # noqa: E402
from dlc_deploy.training.models.predictors import DEKRPredictor  # noqa: E402

pytestmark = [needs_reference, pytest.mark.torch]
# As in DeepLabCut's configurations of DEKR.
OPTIONS = {
    "num_animals": 5,
    "apply_sigmoid": False,
    "use_heatmap": False,
    "clip_scores": True,
    "keypoint_score_type": "combined",
    "max_absorb_distance": 75,
    "nms_threshold": 0.05,
    "apply_pose_nms": True,
}
VARIANTS = {
    "default_cfg": {},
    "no_nms": {"apply_pose_nms": False},
    "score_center": {"keypoint_score_type": "center"},
    "score_heatmap": {"keypoint_score_type": "heatmap"},
    "use_heatmap": {"use_heatmap": True},
    "sigmoid": {"apply_sigmoid": True},
}
HEADS = {
    "dekr_w18": ("bodypart",),
    "dekr_w18_single": ("bodypart",),
    "dekr_w18_unique": ("bodypart", "unique_bodypart"),
    "dekr_w18_identity": ("bodypart", "identity"),
}


@pytest.fixture(scope="module")
def made_up():
    with np.load(REFERENCE / "preprocess" / "predictor_dekr.npz") as file:
        return dict(file)


@pytest.mark.parametrize("variant", VARIANTS)
def test_poses_of_made_up_maps_are_deeplabcuts_whatever_the_options(made_up, variant):
    outputs = {name: torch.from_numpy(made_up[name]) for name in ("heatmap", "offset")}
    predictor = DEKRPredictor(**OPTIONS | VARIANTS[variant])
    poses = predictor(float(made_up["stride"]), outputs)["poses"].numpy()
    expected = made_up[variant]
    assert poses.shape == expected.shape and poses.dtype == expected.dtype == np.float32
    assert expected[..., :2].std() > 10 and (expected[..., 2] > 0.05).sum() >= 12
    # roundings of numbers about 100
    np.testing.assert_allclose(poses, expected, rtol=0, atol=1e-4)


def test_nothing_is_dropped_in_them_but_the_order_is_turned(made_up):
    np.testing.assert_array_equal(made_up["default_cfg"], made_up["no_nms"][:, ::-1])


@pytest.fixture(scope="module", params=HEADS)
def exported(request):
    """A family with its operators replaced, and what DeepLabCut got of it."""
    name = request.param
    config = PoseConfig.from_yaml(families.folder(name) / "pytorch_config.yaml")
    model = PoseModel.build(config.model.model_dump()).eval()
    state = {key: torch.from_numpy(value) for key, value in families.weights(name).items()}
    model.load_state_dict(model.state_dict() | state)
    # two blocks of four keypoints
    assert rewrite_operators(model)["deform_conv"] == 8
    with np.load(families.folder(name) / "output.npz") as file:
        return name, model, dict(file)


def test_outputs_and_poses_of_the_plain_operators_are_deeplabcuts(exported):
    name, model, arrays = exported
    with torch.inference_mode():
        outputs = model(torch.from_numpy(arrays["preprocessed"]))
        predictions = model.get_predictions(outputs)
    assert tuple(outputs) == HEADS[name]
    for head, values in outputs.items():
        for output, value in values.items():
            expected = torch.from_numpy(arrays[f"raw/{head}/{output}"])
            # random networks amplify rounding: DeepLabCut against itself needs a third of this
            tolerance = 2e-3 * float(expected.std())
            torch.testing.assert_close(value, expected, rtol=0, atol=tolerance)
        if head == "identity":
            identity = predictions[head]["heatmap"].numpy()
            # a sigmoid is nowhere steeper than 1/4
            np.testing.assert_allclose(
                identity, arrays[f"pred/{head}/heatmap"], rtol=0, atol=tolerance / 4
            )
            continue
        poses, expected = predictions[head]["poses"].numpy(), arrays[f"pred/{head}/poses"]
        sure = expected[..., 2] >= 0.05
        assert sure.sum() >= 4 and expected[sure][:, :2].std() > 10
        # offsets have a standard deviation of 3 cells of 4 px, of which 2e-3 may differ
        distance = np.linalg.norm(poses[..., :2] - expected[..., :2], axis=-1)
        assert distance[sure].max() <= 0.024

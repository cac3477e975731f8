"""TokenPose against DeepLabCut's: same weights, same crops in."""

from __future__ import annotations

import numpy as np
import pytest

from tests import families
from tests.reference import needs_reference

torch = pytest.importorskip("torch")

from dlc_deploy.config import PoseConfig  # noqa: E402
from dlc_deploy.training.models import PoseModel  # noqa: E402

pytestmark = [needs_reference, pytest.mark.torch]
NAME = "animaltokenpose_base"


@pytest.fixture(scope="module")
def arrays():
    with np.load(families.folder(NAME) / "output.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def model():
    """With the positions that the constructor makes: the reference does not hold them."""
    config = PoseConfig.from_yaml(families.folder(NAME) / "pytorch_config.yaml")
    model = PoseModel.build(config.model.model_dump()).eval()
    state = {key: torch.from_numpy(value) for key, value in families.weights(NAME).items()}
    absent, unknown = model.load_state_dict(state, strict=False)
    assert absent == ["neck.pos_embedding"] and not unknown
    return model


@pytest.fixture(scope="module")
def outputs(model, arrays):
    with torch.inference_mode():
        return model(torch.from_numpy(arrays["preprocessed"]))


def test_heatmaps_are_deeplabcuts(outputs, arrays):
    expected = torch.from_numpy(arrays["raw/bodypart/heatmap"])
    found = outputs["bodypart"]["heatmap"]
    # random networks amplify rounding: DeepLabCut against itself needs a third of this
    tolerance = 2e-3 * float(expected.std())
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    assert expected.std() > 0.1


def test_poses_are_deeplabcuts_and_have_no_refinement(model, outputs, arrays):
    expected = arrays["pred/bodypart/poses"]
    poses = model.get_predictions(outputs)["bodypart"]["poses"].numpy()
    assert poses.shape == expected.shape and expected[..., :2].std() > 10
    assert (expected[..., 2] >= 0.05).all()
    np.testing.assert_array_equal(poses[..., :2], expected[..., :2])
    np.testing.assert_array_equal(poses[..., :2] % 4, 2)
    np.testing.assert_allclose(poses[..., 2], expected[..., 2], rtol=0, atol=1e-5)

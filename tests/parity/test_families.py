"""Our models against DeepLabCut's: same weights, same tensors in."""

from __future__ import annotations

import numpy as np
import pytest

from tests import families
from tests.reference import needs_reference

torch = pytest.importorskip("torch")

from dlc_deploy.config import PoseConfig  # noqa: E402
from dlc_deploy.training.models import PoseModel  # noqa: E402

pytestmark = [needs_reference, pytest.mark.torch]
MIN_SCORE = 0.05


def build(name):
    config = PoseConfig.from_yaml(families.folder(name) / "pytorch_config.yaml")
    return PoseModel.build(config.model.model_dump(), pretrained_backbone=False).eval()


@pytest.fixture(params=families.POSE_MODELS, scope="module")
def family(request):
    model = build(request.param)
    state = {key: torch.from_numpy(value) for key, value in families.weights(request.param).items()}
    model.load_state_dict(model.state_dict() | state)
    return request.param, model, np.load(families.folder(request.param) / "output.npz")


def reference_outputs(arrays):
    outputs = {}
    for key in arrays.files:
        if key.startswith("raw/"):
            _, head, output = key.split("/")
            outputs.setdefault(head, {})[output] = torch.from_numpy(arrays[key])
    return outputs


def test_the_state_dict_has_deeplabcuts_keys_shapes_and_order(family):
    name, model, _ = family
    ours = [(key, list(value.shape)) for key, value in model.state_dict().items()]
    assert ours == [(entry["key"], entry["shape"]) for entry in families.entries(name)]


def test_raw_outputs_are_deeplabcuts(family):
    _, model, arrays = family
    with torch.inference_mode():
        outputs = model(torch.from_numpy(arrays["preprocessed"]))
    reference = reference_outputs(arrays)
    assert reference and outputs.keys() == reference.keys()
    for head, expected in reference.items():
        assert outputs[head].keys() == expected.keys()
        for output, value in expected.items():
            assert value.std() > 1e-4
            # random networks amplify rounding: DeepLabCut against itself needs a third of this
            tolerance = 2e-3 * float(value.std())
            torch.testing.assert_close(outputs[head][output], value, rtol=0, atol=tolerance)


def test_the_predictor_gives_deeplabcuts_poses_of_the_same_outputs(family):
    _, model, arrays = family
    with torch.inference_mode():
        poses = model.get_predictions(reference_outputs(arrays))["bodypart"]["poses"].numpy()
    expected = arrays["pred/bodypart/poses"]
    assert poses.shape == expected.shape and poses.dtype == np.float32
    sure = expected[..., 2] >= MIN_SCORE
    assert sure.sum() >= 4 and expected[..., :2].std() > 10
    distance = np.linalg.norm(poses[..., :2] - expected[..., :2], axis=-1)
    assert distance[sure].max() <= 0.01
    np.testing.assert_allclose(poses[..., 2], expected[..., 2], atol=1e-5)


def test_a_whole_pass_gives_deeplabcuts_poses(family):
    _, model, arrays = family
    with torch.inference_mode():
        outputs = model(torch.from_numpy(arrays["preprocessed"]))
        poses = model.get_predictions(outputs)["bodypart"]["poses"].numpy()
    expected = arrays["pred/bodypart/poses"]
    sure = expected[..., 2] >= MIN_SCORE
    distance = np.linalg.norm(poses[..., :2] - expected[..., :2], axis=-1)[sure]
    # locref has a standard deviation of half a unit of 7.28 px, of which 2e-3 may differ
    assert len(distance) >= 4 and distance.max() <= 0.05

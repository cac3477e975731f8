"""SSDLite against DeepLabCut's, and its fixed-shape decode against torchvision's own steps."""

from __future__ import annotations

import numpy as np
import pytest

from tests import families
from tests.reference import needs_reference

torch = pytest.importorskip("torch")

from torchvision.ops import nms  # noqa: E402

from dlc_deploy.config import PoseConfig  # noqa: E402
from dlc_deploy.training.models.detectors import DETECTORS  # noqa: E402
from dlc_deploy.training.models.detectors.suppression import greedy_nms  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def detector():
    config = PoseConfig.from_yaml(families.folder("ssdlite") / "pytorch_config.yaml")
    model = DETECTORS.build(config.detector.model, pretrained=False)
    state = {key: torch.from_numpy(value) for key, value in families.weights("ssdlite").items()}
    model.load_state_dict(state)
    return model.eval()


@pytest.fixture(scope="module")
def arrays():
    return np.load(families.folder("ssdlite") / "output.npz")


@needs_reference
def test_the_state_dict_has_deeplabcuts_keys_and_shapes(detector):
    ours = [(key, list(value.shape)) for key, value in detector.state_dict().items()]
    assert ours == [(entry["key"], entry["shape"]) for entry in families.entries("ssdlite")]


@needs_reference
def test_raw_outputs_are_deeplabcuts(detector, arrays):
    images = torch.from_numpy(arrays["preprocessed"])
    with torch.inference_mode():
        resized = detector._resized(images)
        raw = detector.model.head(list(detector.model.backbone(resized).values()))
    # float32 rounding of a bilinear resize
    np.testing.assert_allclose(resized, arrays["raw/detector/transformed"], atol=1e-5)
    for name in ("bbox_regression", "cls_logits"):
        expected = torch.from_numpy(arrays[f"raw/detector/{name}"])
        assert expected.std() > 0.1
        torch.testing.assert_close(raw[name], expected, rtol=0, atol=2e-3 * float(expected.std()))


@needs_reference
@pytest.mark.parametrize("detections", [1, 3, 20])
def test_decode_gives_deeplabcuts_boxes_in_their_order(detector, arrays, detections):
    images = torch.from_numpy(arrays["preprocessed"])
    with torch.inference_mode():
        boxes, scores = detector.decode(images, detections)
        _, listed = detector(images)
    assert boxes.shape == (2, detections, 4)
    for frame in range(2):
        expected = arrays[f"pred_{frame}/boxes"][:detections]
        assert len(expected) == detections and expected.std() > 10
        np.testing.assert_allclose(boxes[frame], expected, atol=0.01)
        np.testing.assert_allclose(
            scores[frame], arrays[f"pred_{frame}/scores"][:detections], atol=1e-4
        )
        np.testing.assert_allclose(listed[frame]["boxes"][:detections], expected, atol=0.01)


@needs_reference
def test_a_frame_without_detections_gives_zeros(detector, arrays):
    images = torch.from_numpy(arrays["preprocessed"])
    threshold = detector.model.score_thresh
    detector.model.score_thresh = 1.0
    try:
        with torch.inference_mode():
            boxes, scores = detector.decode(images, 2)
    finally:
        detector.model.score_thresh = threshold
    assert not boxes.any() and not scores.any()


def test_suppression_is_torchvisions_nms():
    random = torch.Generator().manual_seed(0)
    corner = torch.rand((3, 200, 2), generator=random) * 100
    boxes = torch.cat([corner, corner + 5 + 40 * torch.rand((3, 200, 2), generator=random)], -1)
    scores = torch.rand((3, 200), generator=random)
    kept, heights = greedy_nms(boxes, scores, 0.55, 30)
    for image in range(3):
        order = nms(boxes[image], scores[image], 0.55)[:30]
        assert 25 < len(order) < 200
        torch.testing.assert_close(kept[image, : len(order)], boxes[image][order])
        torch.testing.assert_close(heights[image, : len(order)], scores[image][order])

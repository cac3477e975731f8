"""Targets and losses of detectors."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from dlc_deploy.training.models.detectors import DETECTORS  # noqa: E402
from tests import drawn_detectors  # noqa: E402

pytestmark = pytest.mark.torch
FASTER_LOSSES = ["loss_box_reg", "loss_classifier", "loss_objectness", "loss_rpn_box_reg"]


def annotations():
    """Two animals in the first image (and padding), none in the second."""
    boxes = torch.zeros(2, 4, 4)
    boxes[0, 0] = torch.tensor([10.0, 12, 40, 50])
    boxes[0, 1] = torch.tensor([60.0, 0, 0, 30])  # no width
    boxes[0, 3] = torch.tensor([50.0, 20, 30, 60])
    labels = torch.full((2, 4), -1)
    labels[0] = torch.tensor([1, 1, -1, 1])
    return {
        "boxes": boxes,
        "labels": labels,
        "area": (boxes[..., 2] * boxes[..., 3]).clamp(min=1),
        "is_crowd": torch.tensor([[0, 0, 0, 1], [0, 0, 0, 0]]),
    }


@pytest.fixture(scope="module")
def ssdlite():
    torch.manual_seed(0)
    return DETECTORS.build({"type": "SSDLite", "freeze_bn_stats": True}, pretrained=False)


@pytest.fixture(scope="module")
def faster_rcnn():
    return drawn_detectors.faster_rcnn("fasterrcnn_mobilenet_v3_large_fpn", small=True)


def test_targets_are_the_boxes_with_an_area(ssdlite):
    given = annotations()
    before = given["boxes"].clone()
    first, second = ssdlite.get_target(given)
    assert first["boxes"].tolist() == [[10, 12, 50, 62], [50, 20, 80, 80]]
    assert first["labels"].tolist() == [1, 1] and first["labels"].dtype == torch.int64
    assert first["area"].tolist() == [2000, 1800] and first["is_crowd"].tolist() == [0, 1]
    assert second["boxes"].shape == (0, 4) and second["labels"].shape == (0,)
    assert torch.equal(given["boxes"], before)  # metrics read them after


def test_boxes_that_rounding_leaves_without_an_area_are_no_targets(ssdlite):
    given = annotations()
    given["boxes"][1, 0] = torch.tensor([900.0, 20, 1e-5, 30])
    assert len(ssdlite.get_target(given)[1]["boxes"]) == 0


@pytest.mark.parametrize("kind", ["ssdlite", "faster_rcnn"])
def test_a_training_step_has_losses_and_gradients(kind, request):
    detector = request.getfixturevalue(kind)
    images = torch.rand(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    detector.train()
    losses, detections = detector(images, detector.get_target(annotations()))
    sum(losses.values()).backward()
    detector.eval()
    expected = FASTER_LOSSES if kind == "faster_rcnn" else ["bbox_regression", "classification"]
    assert sorted(losses) == expected and detections == []
    assert all(float(loss.detach()) > 0 for loss in losses.values())
    trained = [p for p in detector.parameters() if p.requires_grad]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in trained)
    detector.zero_grad()


@pytest.mark.parametrize(("kind", "learns"), [("ssdlite", False), ("faster_rcnn", True)])
def test_a_batch_without_animals_is_no_fault(kind, learns, request):
    """torchvision's SSD only learns of background from images that also show something."""
    detector = request.getfixturevalue(kind)
    images = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    nobody = {name: values[1:] for name, values in annotations().items()}
    detector.train()
    losses, _ = detector(images, detector.get_target(nobody))
    detector.eval()
    total = sum(losses.values())
    total.backward()
    assert torch.isfinite(total) and (float(total.detach()) > 0) is learns
    detector.zero_grad()


def test_frozen_batch_norms_keep_their_statistics(ssdlite):
    images = torch.rand(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    before = {key: value.clone() for key, value in ssdlite.named_buffers()}
    ssdlite.train()
    ssdlite(images, ssdlite.get_target(annotations()))
    ssdlite.eval()
    assert any("running_mean" in key for key in before)
    assert all(torch.equal(value, before[key]) for key, value in ssdlite.named_buffers())


def test_evaluation_gives_detections_and_no_losses(ssdlite):
    images = torch.rand(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        losses, detections = ssdlite.eval()(images, ssdlite.get_target(annotations()))
    assert losses == {} and len(detections) == 2
    assert all(len(found["boxes"]) == len(found["scores"]) > 0 for found in detections)


@pytest.mark.parametrize(
    ("from_scratch", "snapshot", "all_layers"),
    [(True, False, True), (True, True, False), (False, True, False)],
)
def test_only_random_first_layers_are_trained(from_scratch, snapshot, all_layers):
    from dlc_deploy.training.apis.train import _build_model, _Settings
    from dlc_deploy.training.task import Task

    settings = {"batch_size": 1, "display_iters": 1, "epochs": 1}
    content = {"model": {"type": "FasterRCNN"}, "train_settings": settings}
    given = _Settings.of(content, from_scratch=from_scratch, snapshot=snapshot)
    assert not given.pretrained
    built = _build_model(content, Task.DETECT, given, with_weights=False)
    assert all(parameter.requires_grad for parameter in built.parameters()) is all_layers

"""Faster R-CNN of fixed shape against torchvision's own steps, on small images."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from torchvision.models import detection  # noqa: E402
from torchvision.models.detection.transform import GeneralizedRCNNTransform  # noqa: E402
from torchvision.ops import MultiScaleRoIAlign  # noqa: E402
from torchvision.ops.poolers import LevelMapper  # noqa: E402

from dlc_deploy.errors import ConfigError  # noqa: E402
from dlc_deploy.training.models.detectors import DETECTORS  # noqa: E402
from dlc_deploy.training.models.detectors.boxes import clip_boxes  # noqa: E402
from dlc_deploy.training.models.detectors.resize import (  # noqa: E402
    free_resized_size,
    resized,
    resized_size,
)
from dlc_deploy.training.models.detectors.roi import levels_of, pool_regions  # noqa: E402
from tests import drawn_detectors  # noqa: E402

pytestmark = pytest.mark.torch
MOBILENET = "fasterrcnn_mobilenet_v3_large_fpn"
LIMITS = (800, 1333)
# Sizes of which torchvision makes 799, 959 or 1332 where whole numbers give one more.
ROUNDED_DOWN = [(322, 386), (386, 772), (120, 298), (29, 145), (1000, 770)]


@pytest.fixture(scope="module")
def detector():
    return drawn_detectors.faster_rcnn(MOBILENET, small=True)


def images(*size, count=2):
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(size[0]))


def build(**options):
    return DETECTORS.build({"type": "FasterRCNN", **options}, pretrained=False)


@pytest.mark.parametrize("size", [(96, 96), (97, 130), (161, 48)])
def test_decode_gives_torchvisions_detections(detector, size):
    frames = images(*size)
    with torch.inference_mode():
        _, expected = detector(frames)
        boxes, scores = detector.decode(frames, 40)
    for image, found in enumerate(expected):
        count = len(found["boxes"])
        assert 10 < count < 40 and found["boxes"].std() > 10 and found["scores"].std() > 0.05
        # float32 rounding of coordinates up to 160
        torch.testing.assert_close(boxes[image, :count], found["boxes"], rtol=0, atol=1e-4)
        torch.testing.assert_close(scores[image, :count], found["scores"], rtol=0, atol=1e-5)
        assert not boxes[image, count:].any() and not scores[image, count:].any()


def test_fewer_detections_are_the_best_ones(detector):
    frames = images(96, 128)
    with torch.inference_mode():
        many, few = detector.decode(frames, 9), detector.decode(frames, 2)
    torch.testing.assert_close(few[0], many[0][:, :2])
    torch.testing.assert_close(few[1], many[1][:, :2])


def test_there_are_never_more_detections_than_torchvision_gives(detector):
    heads = detector.model.roi_heads
    most, heads.detections_per_img = heads.detections_per_img, 4
    try:
        with torch.inference_mode():
            boxes, scores = detector.decode(images(96, 128), 6)
    finally:
        heads.detections_per_img = most
    assert boxes.shape == (2, 6, 4) and scores[:, :4].all() and not scores[:, 4:].any()
    assert not boxes[:, 4:].any()


def test_the_score_threshold_is_that_of_the_configuration(detector):
    with torch.inference_mode():
        _, scores = detector.decode(images(96, 128), 30)
        threshold = scores[scores > 0].median()
        detector.model.roi_heads.score_thresh = float(threshold)
        _, fewer = detector.decode(images(96, 128), 30)
    detector.model.roi_heads.score_thresh = 0.01
    assert fewer[fewer > 0].min() > threshold
    assert build(box_score_thresh=0.3).model.roi_heads.score_thresh == 0.3


def test_a_frame_without_regions_gives_zeros(detector):
    detector.model.rpn.score_thresh = 1.1
    try:
        with torch.inference_mode():
            boxes, scores = detector.decode(images(96, 128), 3)
    finally:
        detector.model.rpn.score_thresh = 0.05
    assert not boxes.any() and not scores.any()


def test_boxes_thinner_than_a_hundredth_of_a_pixel_are_no_detections(detector):
    predictor = detector.model.roi_heads.box_predictor.bbox_pred
    with torch.inference_mode():
        predictor.bias[6] = -100  # the width of an animal
        try:
            _, expected = detector(images(96, 128))
            boxes, scores = detector.decode(images(96, 128), 5)
        finally:
            predictor.bias[6] = 0
    assert not any(len(found["boxes"]) for found in expected)
    assert not boxes.any() and not scores.any()


def test_free_sizes_are_rounded_as_torchvision_rounds_them():
    random = torch.Generator().manual_seed(0)
    sizes = torch.randint(16, 8193, (60, 2), generator=random).tolist() + ROUNDED_DOWN
    sizes += [(side, factor * side) for side in range(90, 700, 32) for factor in (1, 2)]
    lower = 0  # short sides that whole numbers would make 800
    for size in sizes:
        expected = resized_size(*size, *LIMITS)
        assert tuple(free_resized_size(torch.tensor(size), *LIMITS).tolist()) == expected
        short = expected[0] if size[0] <= size[1] else expected[1]
        lower += short == 799
    assert lower >= 3


@pytest.mark.parametrize("size", [*ROUNDED_DOWN, (480, 640), (300, 900), (1600, 30)])
def test_images_are_resized_as_torchvision_resizes_them(size):
    transform = GeneralizedRCNNTransform(*LIMITS, [0.0] * 3, [1.0] * 3)
    frames = images(*size, count=1)
    expected, _ = transform(list(frames))
    found, filled = resized(frames, transform)
    assert tuple(filled) == tuple(expected.image_sizes[0])
    torch.testing.assert_close(found, expected.tensors, rtol=0, atol=0)


@pytest.mark.slow
def test_a_graph_with_free_sizes_resizes_as_torchvision_does(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    transform = SimpleNamespace(size_divisible=32, min_size=(800,), max_size=1333)

    class Resize(torch.nn.Module):
        def forward(self, frames):
            canvas, size = resized(frames, transform)
            return canvas, torch.full((1,), size[0]), torch.full((1,), size[1])

    free = {axis: torch.export.Dim(f"side{axis}", min=32, max=8192) for axis in (2, 3)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's inside
        program = torch.onnx.export(
            Resize().eval(), (images(50, 70),), dynamo=True, dynamic_shapes=(free,), verbose=False
        )
    program.save(str(tmp_path / "resize.onnx"))
    session = onnxruntime.InferenceSession(str(tmp_path / "resize.onnx"))
    for size in [(480, 640), (322, 386), (298, 120)]:
        frames = images(*size)
        canvas, *filled = session.run(None, {session.get_inputs()[0].name: frames.numpy()})
        expected, wanted = resized(frames, transform)
        assert [int(side[0]) for side in filled] == list(wanted)
        # ONNX Runtime computes places in float32 in another order: 1e-4 of a pixel
        torch.testing.assert_close(torch.from_numpy(canvas), expected, rtol=0, atol=1e-3)


def regions():
    """Boxes of all levels and shapes in 224 x 288, also thin ones at the edges."""
    random = torch.Generator().manual_seed(1)
    centre = torch.rand(2, 60, 2, generator=random) * torch.tensor([288.0, 224])
    half = torch.exp(torch.rand(2, 60, 2, generator=random) * 5)
    boxes = torch.cat([centre - half, centre + half], -1)
    edges = torch.tensor([[280.0, 0, 288, 224], [0, 223, 288, 224], [287.5, 223.5, 288, 224]])
    boxes = torch.cat([boxes, edges.expand(2, -1, -1)], 1)
    return clip_boxes(boxes, (224, 288))


@pytest.mark.parametrize("strides", [(4, 8, 16, 32), (32, 32), (16,)])
def test_regions_are_pooled_as_by_torchvision(strides):
    random = torch.Generator().manual_seed(2)
    names = [str(level) for level in range(len(strides))]
    features = {
        name: torch.randn(2, 5, 224 // stride, 288 // stride, generator=random)
        for name, stride in zip(names, strides, strict=True)
    }
    pool = MultiScaleRoIAlign(names, output_size=7, sampling_ratio=2)
    boxes = regions()
    expected = pool(features, list(boxes), [(224, 288)] * 2).unflatten(0, boxes.shape[:2])
    found = pool_regions(pool, list(features.values()), strides, boxes)
    assert (expected == 0).any() and expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


def test_boxes_go_to_torchvisions_levels():
    side = torch.exp(torch.linspace(1, 7, 5000))
    boxes = torch.stack([0 * side, 0 * side, side, 0.7 * side], -1)
    pool = MultiScaleRoIAlign(["0", "1", "2", "3"], output_size=7, sampling_ratio=2)
    levels = levels_of(boxes, pool, (4, 8, 16, 32))
    assert levels.unique().tolist() == [0, 1, 2, 3]
    assert levels.tolist() == LevelMapper(2, 5)([boxes]).tolist()


def test_building_downloads_nothing_and_freezes_batch_norms(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a download")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    keys = build(variant=MOBILENET).state_dict()
    assert not [key for key in keys if "num_batches_tracked" in key]
    assert any("running_mean" in key for key in keys)


def test_pretrained_weights_are_cocos_but_for_the_last_layer(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    coco = detection.fasterrcnn_mobilenet_v3_large_fpn(weights=None, weights_backbone=None)
    state = {key: value for key, value in coco.state_dict().items() if "num_batches" not in key}
    torch.save(state, tmp_path / "checkpoints" / "fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth")
    built = DETECTORS.build({"type": "FasterRCNN", "variant": MOBILENET}, pretrained=True)
    persons = DETECTORS.build({"type": "CocoPersonDetector"}, pretrained=True).state_dict()
    head = "roi_heads.box_predictor"
    for key, value in state.items():
        assert torch.equal(persons[f"model.{key}"], value)
        if not key.startswith(head):
            assert torch.equal(built.state_dict()[f"model.{key}"], value)
    assert built.state_dict()[f"model.{head}.cls_score.weight"].shape[0] == 2


@pytest.mark.parametrize("variant", [MOBILENET, "fasterrcnn_resnet50_fpn_v2"])
def test_first_layers_are_not_trained(variant):
    """What torchvision does with given weights, which DeepLabCut's detectors always have."""
    body = build(variant=variant).model.backbone.body
    trained = [name for name, layer in body.named_parameters() if layer.requires_grad]
    parts = {name.partition(".")[0] for name in trained}
    expected = {"layer2", "layer3", "layer4"}
    if variant == MOBILENET:
        expected = {str(number) for number in range(7, 17)}
    assert parts == expected


def test_training_gives_torchvisions_losses(detector):
    target = {"boxes": torch.tensor([[10.0, 10, 60, 80]]), "labels": torch.tensor([1])}
    detector.train()
    try:
        losses, detections = detector(images(96, 128), [target, target])
    finally:
        detector.eval()
    assert sorted(losses) == [
        "loss_box_reg",
        "loss_classifier",
        "loss_objectness",
        "loss_rpn_box_reg",
    ]
    assert all(torch.isfinite(loss) for loss in losses.values()) and detections == []


def test_batch_norms_are_frozen_on_request():
    built = build(
        variant="fasterrcnn_resnet50_fpn_v2", freeze_bn_stats=True, freeze_bn_weights=True
    ).train()
    norms = [m for m in built.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) > 50 and not any(norm.training for norm in norms)
    assert not any(norm.weight.requires_grad or norm.bias.requires_grad for norm in norms)
    assert built.model.rpn.training and built.model.roi_heads.box_predictor.training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "fasterrcnn_resnet101"}, "fasterrcnn_resnet50_fpn_v2.*got 'fasterrcnn_resne"),
        ({"box_score_thresh": 1.5}, "box_score_thresh from 0 to below 1, got 1.5"),
        ({"detections": 3}, "detections"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        build(**options)

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from dlc_deploy.training.models.detectors import DETECTORS  # noqa: E402

pytestmark = pytest.mark.torch

CAR = 3


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 72, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def detector(images):
    """Random; its regions differ, and most of them are persons or cars."""
    torch.manual_seed(0)
    built = DETECTORS.build({"type": "CocoPersonDetector", "box_score_thresh": 0.05}).eval()
    built.model.transform.min_size, built.model.transform.max_size = (96,), 128
    built.model.rpn._post_nms_top_n = {"training": 200, "testing": 200}
    features, heads = [], built.model.roi_heads
    hook = heads.box_head.register_forward_hook(lambda *call: features.append(call[-1]))
    with torch.no_grad():
        for name, values in built.named_parameters():
            if name.endswith("cls_logits.weight"):
                values.mul_(100)
        built(images)
        hook.remove()
        layer = heads.box_predictor.cls_score
        layer.weight.div_(layer(features[0]).std(0).mean())
        layer.bias.copy_(layer.bias - layer(features[0]).mean(0))
        layer.bias[[1, CAR]] += 3
    return built


def test_only_persons_are_reported_though_other_things_are_seen(detector, images):
    with torch.inference_mode():
        everything = detector.model(list(images))
        losses, found = detector(images)
    assert losses == {}
    for seen, persons in zip(everything, found, strict=True):
        assert {1, CAR} <= set(seen["labels"].tolist())
        chosen = seen["labels"] == 1
        assert set(persons["labels"].tolist()) == {1}
        for name, values in persons.items():
            assert torch.equal(values, seen[name][chosen])


def test_the_exported_way_finds_the_same_persons(detector, images):
    with torch.inference_mode():
        _, found = detector(images)
        boxes, scores = detector.decode(images, 5)
    for number, persons in enumerate(found):
        assert len(persons["scores"]) >= 5
        # the same operators in another order of summation
        torch.testing.assert_close(scores[number], persons["scores"][:5], rtol=0, atol=1e-6)
        # regions with equal features have equal scores, and then no order
        for box, score in zip(boxes[number], scores[number], strict=True):
            same_score = (persons["scores"] - score).abs() < 1e-6
            assert (persons["boxes"][same_score] - box).abs().amax(1).min() < 1e-4


def test_the_state_dict_is_torchvisions_own(detector):
    shapes = {key: value.shape for key, value in detector.model.state_dict().items()}
    assert shapes["roi_heads.box_predictor.cls_score.weight"][0] == 91
    assert shapes["roi_heads.box_predictor.bbox_pred.weight"][0] == 4 * 91
    assert list(detector.state_dict()) == [f"model.{key}" for key in shapes]

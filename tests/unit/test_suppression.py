"""Suppression of fixed shape against torchvision's, in PyTorch and as a graph."""

from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch")

from torchvision.ops import nms  # noqa: E402

from dlc_deploy.training.models.detectors.suppression import (  # noqa: E402
    greedy_keep,
    greedy_nms,
    overlaps,
)

pytestmark = pytest.mark.torch
THRESHOLD = 0.55


def drawn(images, boxes, seed=0):
    """Boxes [images, boxes, 4] and scores, best first; whole scores, so that many are equal."""
    random = torch.Generator().manual_seed(seed)
    corner = torch.rand((images, boxes, 2), generator=random) * 100
    side = 5 + 40 * torch.rand((images, boxes, 2), generator=random)
    scores = torch.randint(1, 20, (images, boxes), generator=random) / 20
    scores = scores.sort(dim=1, descending=True, stable=True)[0]
    return torch.cat([corner, corner + side], -1), scores


def chain(length):
    """Boxes of which each overlaps the next only: greedy suppression keeps every other one."""
    left = torch.arange(length) * 3.0
    return torch.stack([left, 0 * left, left + 10, 0 * left + 10], -1)[None]


def test_greedy_keep_is_torchvisions_nms():
    boxes, scores = drawn(3, 200)
    keep = greedy_keep(boxes, torch.ones(3, 200, dtype=torch.bool), THRESHOLD)
    for image in range(3):
        expected = nms(boxes[image], scores[image], THRESHOLD)
        assert 25 < len(expected) < 190
        assert keep[image].nonzero()[:, 0].tolist() == expected.tolist()


def test_places_without_a_box_neither_stay_nor_drop_others():
    boxes, scores = drawn(1, 200)
    valid = torch.arange(200)[None] % 3 > 0
    keep = greedy_keep(boxes, valid, THRESHOLD)
    expected = nms(boxes[valid], scores[valid], THRESHOLD)
    assert keep[valid].nonzero()[:, 0].tolist() == expected.tolist()
    assert not keep[~valid].any()


def test_a_chain_of_overlaps_is_followed_to_its_end():
    boxes = chain(41)
    keep = greedy_keep(boxes, torch.ones(1, 41, dtype=torch.bool), 0.5)
    assert keep[0].tolist() == [place % 2 == 0 for place in range(41)]


@pytest.mark.slow
def test_the_graph_follows_a_chain_longer_than_that_it_was_traced_with(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")

    class Keep(torch.nn.Module):
        def forward(self, boxes):
            valid = boxes[..., 2] > boxes[..., 0]
            return greedy_keep(boxes, valid, 0.5).float()

    batch = {0: torch.export.Dim("batch", min=1, max=8)}
    left = torch.arange(41) * 100.0
    apart = torch.stack([left, 0 * left, left + 9, 0 * left + 9], -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's inside
        program = torch.onnx.export(
            Keep().eval(), (apart.expand(2, -1, -1),), dynamo=True, dynamic_shapes=(batch,)
        )
    program.save(str(tmp_path / "keep.onnx"))
    session = onnxruntime.InferenceSession(str(tmp_path / "keep.onnx"))
    boxes = torch.cat([chain(41), drawn(1, 41)[0], apart[None]])
    (keep,) = session.run(None, {session.get_inputs()[0].name: boxes.numpy()})
    assert keep[0].tolist() == [place % 2 == 0 for place in range(41)]
    scores = torch.linspace(1, 0.5, 41)
    assert keep[1].nonzero()[0].tolist() == nms(boxes[1], scores, 0.5).tolist()
    assert keep[2].all()


@pytest.mark.parametrize("detections", [1, 30])
def test_greedy_nms_is_torchvisions_and_takes_the_first_of_equals(detections):
    boxes, scores = drawn(3, 200)
    kept, heights = greedy_nms(boxes, scores, THRESHOLD, detections)
    for image in range(3):
        order = nms(boxes[image], scores[image], THRESHOLD)[:detections]
        assert len(order) == detections
        torch.testing.assert_close(kept[image], boxes[image][order], rtol=0, atol=0)
        torch.testing.assert_close(heights[image], scores[image][order], rtol=0, atol=0)


def test_places_without_a_box_are_zeros():
    boxes, scores = drawn(2, 20)
    kept, heights = greedy_nms(boxes, scores * (scores > 0.5), THRESHOLD, 20)
    assert 0 < (heights > 0).sum() < 40
    assert heights[heights > 0].min() > 0.5
    assert not kept[heights == 0].any()


def test_overlap_of_boxes_without_area_drops_none():
    boxes = torch.tensor([[[3.0, 3, 3, 9], [3, 3, 3, 9], [0, 0, 4, 4]]])
    assert not (overlaps(boxes, boxes)[0, :2] > 0).any()
    assert greedy_keep(boxes, torch.ones(1, 3, dtype=torch.bool), 0.5).all()


def test_a_box_without_area_is_taken_once():
    boxes = torch.tensor([[[3.0, 3, 3, 9], [0, 0, 4, 4]]])
    kept, heights = greedy_nms(boxes, torch.tensor([[0.9, 0.8]]), 0.5, 3)
    torch.testing.assert_close(heights, torch.tensor([[0.9, 0.8, 0.0]]))
    torch.testing.assert_close(kept[:, :2], boxes)

"""Non-maximum suppression with shapes that do not depend on the data.

Greedy suppression takes the best box that is left and drops all that overlap it, until none is
left. Where few boxes are wanted, so many rounds are enough (:func:`greedy_nms`); where most of them
may stay, all are judged at once until nothing changes any more (:func:`greedy_keep`).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch._higher_order_ops.while_loop import while_loop

from .boxes import take


def greedy_nms(
    boxes: Tensor, scores: Tensor, threshold: float, detections: int
) -> tuple[Tensor, Tensor]:
    """The first ``detections`` boxes that greedy suppression keeps.

    The rounds are unrolled: they need no loop in the graph and no NMS operator, which TensorRT does
    not have.

    Args:
        boxes: float32 [N, B, 4]; left, top, right, bottom.
        scores: float32 [N, B]; 0 or less marks a place without a box.
        threshold: overlap (intersection over union) above which a box is dropped.
        detections: D.

    Returns:
        Boxes [N, D, 4] and scores [N, D], best first; places without a box are 0.
    """
    kept_boxes, kept_scores = [], []
    for _ in range(detections):
        score, index = scores.max(dim=1, keepdim=True)
        box = take(boxes, index)
        found = score > 0
        kept_boxes.append(torch.where(found[..., None], box, 0))
        kept_scores.append(torch.where(found, score, 0))
        overlap = overlaps(box, boxes)[:, 0] > threshold
        chosen = torch.arange(boxes.shape[1], device=boxes.device) == index
        scores = torch.where(overlap | chosen, 0, scores)
    return torch.cat(kept_boxes, 1), torch.cat(kept_scores, 1)


def greedy_keep(boxes: Tensor, valid: Tensor, threshold: float) -> Tensor:
    """Which boxes greedy suppression keeps.

    A box stays if no better box that stays overlaps it. Starting from all boxes, this rule is
    applied to all at once: after round t the first t boxes at the least are judged for good, so the
    rounds end, mostly after some five, and what the rule leaves unchanged is the only answer that
    it has: the greedy one.

    Args:
        boxes: float32 [N, B, 4], best first; left, top, right, bottom.
        valid: bool [N, B], False for a place without a box.
        threshold: overlap (intersection over union) above which a box is dropped.

    Returns:
        bool [N, B].
    """
    rank = torch.arange(boxes.shape[1], device=boxes.device)
    better = rank[:, None] < rank
    drops = ((overlaps(boxes, boxes) > threshold) & better).to(boxes.dtype)

    def changed(keep: Tensor, before: Tensor) -> Tensor:
        return (keep != before).any()

    def judge(keep: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        dropped = (keep[:, None].to(drops.dtype) @ drops)[:, 0] > 0
        return valid & ~dropped, keep.clone()

    keep, before = judge(valid, valid)
    if torch.compiler.is_exporting():
        last: tuple[Tensor, Tensor] = while_loop(changed, judge, (keep, before))
        return last[0]
    while changed(keep, before):
        keep, before = judge(keep, before)
    return keep


def overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union [N, B, C] of ``boxes`` [N, B, 4] with ``others`` [N, C, 4]."""
    shared = _shared_side(boxes, others, 0) * _shared_side(boxes, others, 1)
    return shared / (_areas(boxes)[:, :, None] + _areas(others)[:, None] - shared)


def _shared_side(boxes: Tensor, others: Tensor, axis: int) -> Tensor:
    start = torch.maximum(boxes[:, :, None, axis], others[:, None, :, axis])
    end = torch.minimum(boxes[:, :, None, axis + 2], others[:, None, :, axis + 2])
    return (end - start).clamp(min=0)


def _areas(boxes: Tensor) -> Tensor:
    width, height = (boxes[..., 2:] - boxes[..., :2]).unbind(-1)
    return width * height

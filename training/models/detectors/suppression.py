"""Non-maximum suppression with shapes that do not depend on the data."""

from __future__ import annotations

import torch
from torch import Tensor


def greedy_nms(
    boxes: Tensor, scores: Tensor, threshold: float, detections: int
) -> tuple[Tensor, Tensor]:
    """The first ``detections`` boxes that greedy NMS keeps.

    Greedy NMS takes the best box that is left and drops all that overlap it; as only so many boxes
    are wanted, so many rounds are enough, and unrolled they need no loop in the graph and no NMS
    operator, which TensorRT does not have.

    Args:
        boxes: float32 [N, B, 4]; left, top, right, bottom.
        scores: float32 [N, B]; 0 or less marks a place without a box.
        threshold: overlap (intersection over union) above which a box is dropped.
        detections: D.

    Returns:
        Boxes [N, D, 4] and scores [N, D], best first; places without a box are 0.
    """
    area = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    kept_boxes, kept_scores = [], []
    for _ in range(detections):
        score, index = scores.max(dim=1, keepdim=True)
        box = boxes.gather(1, index[..., None].expand(-1, -1, 4))
        found = score > 0
        kept_boxes.append(torch.where(found[..., None], box, 0))
        kept_scores.append(torch.where(found, score, 0))
        overlap = _overlap(box, area.gather(1, index), boxes, area) > threshold
        chosen = torch.arange(boxes.shape[1], device=boxes.device) == index
        scores = torch.where(overlap | chosen, 0, scores)
    return torch.cat(kept_boxes, 1), torch.cat(kept_scores, 1)


def _overlap(box: Tensor, box_area: Tensor, boxes: Tensor, area: Tensor) -> Tensor:
    """Intersection over union [N, B] of one box [N, 1, 4] with ``boxes`` [N, B, 4]."""
    corner = torch.maximum(box[..., :2], boxes[..., :2])
    side = (torch.minimum(box[..., 2:], boxes[..., 2:]) - corner).clamp(min=0)
    shared = side.prod(-1)
    return shared / (box_area + area - shared)

"""The region proposal network's boxes with shapes that do not depend on the data.

As torchvision's ``RegionProposalNetwork`` (Ren et al., "Faster R-CNN", 2015) for all images of a
batch at once: the best anchors of each level, their boxes, suppression within each level, and the
best of all levels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.models.detection.rpn import RegionProposalNetwork

from .boxes import clip_boxes, decode_boxes, large_enough, take
from .resize import Size
from .suppression import greedy_keep


def propose(rpn: RegionProposalNetwork, features: list[Tensor], canvas: Size, size: Size) -> Tensor:
    """The regions that are looked at closer.

    Args:
        rpn: the network, as torchvision built it.
        features: [N, C, h, w] of each level.
        canvas: (height, width) of the images that ``features`` were computed from.
        size: (height, width) of what the frame fills of them.

    Returns:
        Boxes [N, R, 4] (left, top, right, bottom in pixels of the canvas), best first; 0 in a place
        without a box.
    """
    logits, boxes = [], []
    for level, (objectness, codes) in enumerate(zip(*rpn.head(features), strict=True)):
        anchors = _anchors(rpn.anchor_generator.cell_anchors[level], objectness.shape[2:], canvas)
        best, chosen = _best(objectness, codes, anchors, rpn)
        logits.append(best)
        boxes.append(chosen)
    scores = torch.stack(logits, 1).sigmoid()
    corners = clip_boxes(torch.stack(boxes, 1), size)
    valid = large_enough(corners, rpn.min_size) & (scores >= rpn.score_thresh)
    kept = greedy_keep(corners.flatten(0, 1), valid.flatten(0, 1), rpn.nms_thresh)
    scores = torch.where(kept.unflatten(0, valid.shape[:2]), scores, -1).flatten(1)
    best, index = scores.topk(min(rpn.post_nms_top_n(), scores.shape[1]), dim=1)
    return torch.where(best[..., None] >= 0, take(corners.flatten(1, 2), index), 0)


def _best(
    objectness: Tensor, codes: Tensor, anchors: Tensor, rpn: RegionProposalNetwork
) -> tuple[Tensor, Tensor]:
    """Logits [N, K], best first, and boxes [N, K, 4] of the K best anchors of a level.

    A level of fewer anchors is filled up with copies of its last one, which come after it and so
    are suppressed; with free sizes their number is not known beforehand, and K places are added.
    """
    wanted = rpn.pre_nms_top_n()
    logits = objectness.permute(0, 2, 3, 1).flatten(1)
    count = logits.shape[1]
    lacking = max(0, wanted - count) if isinstance(count, int) else wanted
    if not isinstance(lacking, int) or lacking:
        filler = logits.new_full((1, lacking), -torch.inf).expand(logits.shape[0], -1)
        logits = torch.cat([logits, filler], 1)
    best, index = logits.topk(wanted, dim=1)
    index = index.clamp(max=count - 1)
    codes = codes.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3)
    return best, decode_boxes(take(codes, index), anchors[index], rpn.box_coder)


def _anchors(cell: Tensor, grid: Size, canvas: Size) -> Tensor:
    """All anchors [h * w * A, 4] of a level, from those at its first place, ``cell`` [A, 4]."""
    y, x = (
        torch.arange(count, device=cell.device) * (side // count)
        for count, side in zip(grid, canvas, strict=True)
    )
    y, x = torch.meshgrid(y, x, indexing="ij")
    places = torch.stack([x, y, x, y], dim=-1).flatten(0, 1)
    return (places[:, None] + cell).flatten(0, 1)

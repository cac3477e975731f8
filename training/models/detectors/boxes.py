"""Box codes to boxes, as torchvision's ``BoxCoder`` does, for any number of leading axes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder


def decode_boxes(codes: Tensor, anchors: Tensor, coder: BoxCoder) -> Tensor:
    """Corners [..., 4] of box codes [..., 4] relative to ``anchors`` [..., 4] (corners).

    Corners are left, top, right, bottom.
    """
    weights = torch.tensor(coder.weights, dtype=codes.dtype, device=codes.device)
    shift, growth = (codes / weights).split(2, dim=-1)
    side = anchors[..., 2:] - anchors[..., :2]
    centre = anchors[..., :2] + 0.5 * side + shift * side
    half = 0.5 * growth.clamp(max=coder.bbox_xform_clip).exp() * side
    return torch.cat([centre - half, centre + half], dim=-1)


def clip_boxes(boxes: Tensor, size: Sequence[int]) -> Tensor:
    """``boxes`` [..., 4] moved inside an image of (height, width)."""
    x, y = boxes[..., 0::2].clamp(0, size[1]), boxes[..., 1::2].clamp(0, size[0])
    return torch.stack([x, y], dim=-1).flatten(-2)


def large_enough(boxes: Tensor, smallest: float) -> Tensor:
    """Which boxes [..., 4] have both sides of at least ``smallest``, as bool [...]."""
    return (boxes[..., 2:] - boxes[..., :2] >= smallest).all(-1)


def take(values: Tensor, index: Tensor) -> Tensor:
    """Rows ``index`` [N, B] of each image's ``values`` [N, A, C], as [N, B, C]."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))

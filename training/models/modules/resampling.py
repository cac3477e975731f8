"""Antialiased resizing in plain operators."""

from __future__ import annotations

import torch
from torch import Tensor


def resize(images: Tensor, height: int, width: int) -> Tensor:
    """Images [N, C, h, w] to [N, C, height, width], bilinear with antialiasing.

    As torchvision's ``resize(..., antialias=True)``, by two matrix products: TensorRT has no
    antialiased resize.
    """
    rows = _resampling(images.shape[2], height, images)
    columns = _resampling(images.shape[3], width, images)
    return rows @ images @ columns.transpose(0, 1)


def _resampling(old: int, new: int, like: Tensor) -> Tensor:
    """How much each of ``old`` samples counts in each of ``new`` ones, [new, old].

    A triangle around each new sample's place, one old sample wide, or wider where samples are lost.
    """
    # Tensors, not numbers: the sizes are free in an exported graph.
    scale = like.new_full((), old) / like.new_full((), new)
    places = (torch.arange(new, dtype=like.dtype, device=like.device) + 0.5) * scale
    samples = torch.arange(old, dtype=like.dtype, device=like.device) + 0.5
    distance = (samples - places[:, None]).abs()
    weights = (1 - distance / scale.clamp(min=1)).clamp(min=0)
    return weights / weights.sum(1, keepdim=True)

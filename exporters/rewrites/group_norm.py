"""GroupNorm as statistics of each channel and one multiply-add.

ONNX exports GroupNorm as Reshape, InstanceNormalization, Reshape, Mul and Add: five passes over the
feature map, of which CPU engines fuse none. Here the map is read for its sum and its L2 norm, and
once more for ``x * scale + shift``. The variance is E[x^2] - E[x]^2, which in float32 stays within
1e-5 of the two-pass form where the mean is not many times the deviation; the parity gate of every
export watches it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PlainGroupNorm(nn.Module):
    """The numbers of ``torch.nn.GroupNorm`` on [N, C, H, W] in plain operators."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups, self.eps = norm.num_groups, norm.eps
        self.weight = nn.Parameter(norm.weight.detach().reshape(1, self.groups, -1))
        self.bias = nn.Parameter(norm.bias.detach().reshape(1, self.groups, -1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` [N, C, H, W] over the channels of a group and all pixels."""
        channels, pixels = x.shape[1], x.shape[2] * x.shape[3]
        mean = self._over_group(x.mean((2, 3)))
        square = self._over_group(torch.linalg.vector_norm(x, dim=(2, 3)) ** 2 / pixels)
        scale = self.weight * torch.rsqrt(square - mean * mean + self.eps)
        shift = self.bias - mean * scale
        return x * scale.reshape(-1, channels, 1, 1) + shift.reshape(-1, channels, 1, 1)

    def _over_group(self, per_channel: Tensor) -> Tensor:
        groups = per_channel.reshape(per_channel.shape[0], self.groups, -1)
        return groups.mean(2, keepdim=True)


def rewrite(module: nn.Module) -> int:
    """Replace every affine GroupNorm below ``module``; how many there were."""
    count = 0
    for name, child in module.named_children():
        if isinstance(child, nn.GroupNorm) and child.affine:
            setattr(module, name, PlainGroupNorm(child))
            count += 1
        else:
            count += rewrite(child)
    return count

"""GroupNorm as statistics of each channel and one multiply-add.

ONNX exports GroupNorm as Reshape, InstanceNormalization, Reshape, Mul and Add. Here the map is
centred, read for its L2 norm, and scaled. The shorter E[x^2] - E[x]^2 would spare the centring, but
in float32 it loses what is left of a small deviation beside a large mean (a black frame is enough
for 0.01 px), and centring costs no time that can be measured in ONNX Runtime.
"""

from __future__ import annotations

import torch
from timm.layers.norm import GroupNorm as TimmGroupNorm
from torch import Tensor, nn
from torch.nn import functional

# Not every subclass: some of timm hold an activation as well.
_PLAIN = (nn.GroupNorm, TimmGroupNorm)


class PlainGroupNorm(nn.Module):
    """The numbers of ``torch.nn.GroupNorm``, on [N, C, H, W] in plain operators."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups, self.eps = norm.num_groups, norm.eps
        self.weight = nn.Parameter(norm.weight.detach().reshape(1, self.groups, -1))
        self.bias = nn.Parameter(norm.bias.detach().reshape(1, self.groups, -1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` [N, C, H, W] over the channels of a group and all pixels."""
        if x.ndim != 4:
            weight, bias = self.weight.flatten(), self.bias.flatten()
            return functional.group_norm(x, self.groups, weight, bias, self.eps)
        channels, pixels = x.shape[1], x.shape[2] * x.shape[3]
        members = channels // self.groups
        mean = self._over_group(x.mean((2, 3))).expand(-1, -1, members)
        x = x - mean.reshape(-1, channels, 1, 1)
        variance = self._over_group(torch.linalg.vector_norm(x, dim=(2, 3)) ** 2 / pixels)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return x * scale.reshape(-1, channels, 1, 1) + self.bias.reshape(1, channels, 1, 1)

    def _over_group(self, per_channel: Tensor) -> Tensor:
        groups = per_channel.reshape(per_channel.shape[0], self.groups, -1)
        return groups.mean(2, keepdim=True)


def rewrite(module: nn.Module) -> int:
    """Replace every affine GroupNorm below ``module``; how many there were."""
    count = 0
    for name, child in module.named_children():
        if isinstance(child, nn.GroupNorm) and type(child) in _PLAIN and child.affine:
            setattr(module, name, PlainGroupNorm(child))
            count += 1
        else:
            count += rewrite(child)
    return count

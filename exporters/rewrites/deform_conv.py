"""DEKR's deformable convolutions as grid sampling and 1x1 convolutions.

TensorRT-RTX has no operator for a deformable convolution, but samples grids. The nine samples of a
cell, nine maps under each other, are what a 1x1 convolution with the same weights sums up. All
keypoints are computed at once, as groups of channels: an offset head of 12 keypoints then has 87
nodes, not 750, and takes ONNX Runtime 4 % more time than its own DeformConv on a CPU.

A grid is told in units of half the map. In float32 a place is off by some 1e-5 of a cell; in half
precision it would be off by tenths of a cell, so a graph of any precision has to keep the grids
float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from dlc_deploy.training.models.heads.dekr import DEKROffset
from dlc_deploy.training.models.modules.residual_blocks import TAPS, AdaptBlock


class SampledOffset(nn.Module):
    """The numbers of a :class:`DEKROffset`, in plain operators."""

    def __init__(self, head: DEKROffset) -> None:
        super().__init__()
        chains = cast(Iterable[Iterable[AdaptBlock]], head.offset_feature_layers)
        self.transition = head.transition_offset
        self.blocks = nn.ModuleList(map(SampledBlocks, zip(*chains, strict=True)))
        self.final = _side_by_side(cast(Iterable[nn.Conv2d], head.offset_final_layer))

    def forward(self, x: Tensor) -> Tensor:
        """Offsets [N, 2K, h, w] of features [N, C, h, w]."""
        x = self.transition(x)
        grid, scale = _regular_grid(x)
        for block in self.blocks:
            x = block(x, grid, scale)
        y: Tensor = self.final(x)
        return y


class SampledBlocks(nn.Module):
    """The numbers of one :class:`AdaptBlock` for each of K keypoints, their channels in turn."""

    def __init__(self, blocks: Sequence[AdaptBlock]) -> None:
        super().__init__()
        self.keypoints, first = len(blocks), blocks[0]
        self.channels = first.adapt_conv.in_channels
        self.movement = _side_by_side(map(_movement, blocks))
        self.register_buffer("taps", _taps(first).repeat(self.keypoints, 1, 1, 1))
        self.columns = _columns_convolution(blocks)
        self.norm = _norms_side_by_side([block.bn for block in blocks])

    def forward(self, x: Tensor, grid: Tensor, scale: Tensor) -> Tensor:
        """Features [N, K * channels, h, w] of the same shape; ``grid`` and ``scale`` are those of
        :func:`_regular_grid`."""
        height, width = x.shape[2:]
        samples = functional.grid_sample(
            x.unflatten(1, (self.keypoints, self.channels)).flatten(0, 1),
            self._places(x, grid, scale),
            padding_mode="zeros",
            align_corners=False,
        )
        # [N * K, channels, 9 * h, w]: the order of a convolution's weights
        columns = samples.reshape(-1, self.keypoints * self.channels * TAPS, height, width)
        return functional.relu(self.norm(self.columns(columns)) + x)

    def _places(self, x: Tensor, grid: Tensor, scale: Tensor) -> Tensor:
        """Where to sample: [N * K, 9 * h, w, 2]."""
        movement = self.movement(x).unflatten(1, (self.keypoints, 2, 3)) * scale
        moved = functional.conv2d(
            movement.flatten(1, 3), cast(Tensor, self.taps), groups=self.keypoints
        )
        pairs: Tensor = moved.unflatten(1, (self.keypoints, TAPS, 2))
        return (pairs.permute(0, 1, 2, 4, 5, 3) + grid).flatten(0, 1).flatten(1, 2)


def rewrite(module: nn.Module) -> int:
    """Replace every offset head below ``module``; how many deformable convolutions they had."""
    count = 0
    for name, child in module.named_children():
        if isinstance(child, DEKROffset):
            count += sum(isinstance(one, AdaptBlock) for one in child.modules())
            setattr(module, name, SampledOffset(child))
        else:
            count += rewrite(child)
    return count


def _regular_grid(x: Tensor) -> tuple[Tensor, Tensor]:
    """The grid [h, w, 2] (x, y) that samples each cell of ``x`` where it is, and what one cell is
    in its units, [2, 1, 1, 1] (x, y)."""
    sides = (x.shape[3], x.shape[2])
    columns, rows = ((torch.arange(side, device=x.device) * 2 + 1) / side - 1 for side in sides)
    grid = torch.stack([columns.expand(sides[1], -1), rows[:, None].expand(-1, sides[0])], dim=2)
    scale = torch.stack([2 / torch.scalar_tensor(side, device=x.device) for side in sides])
    return grid, scale[:, None, None, None]


def _movement(block: AdaptBlock) -> nn.Conv2d:
    """Six maps of a block's features: for x and for y what a tap's row and column are multiplied
    with, and what is added."""
    matrix, translation = block.transform_matrix_conv, block.translation_conv
    weight = torch.cat([matrix.weight, translation.weight])
    assert matrix.bias is not None and translation.bias is not None
    bias = torch.cat([matrix.bias, translation.bias]).detach()
    # The dilation that the regular places have and the matrix does not know.
    bias[[0, 3]] += block.dilation - 1
    order = [2, 3, 5, 0, 1, 4]
    joined = nn.Conv2d(weight.shape[1], 6, 3, padding=1)
    joined.weight = nn.Parameter(weight.detach()[order])
    joined.bias = nn.Parameter(bias[order])
    return joined


def _columns_convolution(blocks: Sequence[AdaptBlock]) -> nn.Conv2d:
    """The deformable convolutions of samples that are taken already."""
    weight = torch.cat([block.adapt_conv.weight.detach().flatten(1) for block in blocks])
    groups = len(blocks)
    joined = nn.Conv2d(groups * weight.shape[1], len(weight), 1, groups=groups, bias=False)
    joined.weight = nn.Parameter(weight[:, :, None, None])
    return joined


def _taps(block: AdaptBlock) -> Tensor:
    """The kernel [18, 6, 1, 1] that makes places (x, y) of the nine taps from the six maps."""
    regular = cast(Tensor, block.regular_matrix)
    kernel = regular.new_zeros(TAPS, 2, 2, 3)
    for axis in range(2):
        kernel[:, axis, axis, :2] = regular.T
        kernel[:, axis, axis, 2] = 1
    return kernel.reshape(2 * TAPS, 6, 1, 1)


def _side_by_side(convolutions: Iterable[nn.Conv2d]) -> nn.Conv2d:
    """One convolution in groups, in place of equal ones on shares of the channels."""
    ones = list(convolutions)
    first = ones[0]
    joined = nn.Conv2d(
        len(ones) * first.in_channels,
        len(ones) * first.out_channels,
        cast(tuple[int, int], first.kernel_size),
        padding=cast(tuple[int, int], first.padding),
        groups=len(ones),
    )
    joined.weight = nn.Parameter(torch.cat([one.weight.detach() for one in ones]))
    joined.bias = nn.Parameter(torch.cat([cast(Tensor, one.bias).detach() for one in ones]))
    return joined


def _norms_side_by_side(norms: Sequence[nn.BatchNorm2d]) -> nn.BatchNorm2d:
    joined = nn.BatchNorm2d(sum(norm.num_features for norm in norms), eps=norms[0].eps)
    names = ("weight", "bias", "running_mean", "running_var")
    joined.load_state_dict(
        {name: torch.cat([getattr(norm, name) for norm in norms]) for name in names}, strict=False
    )
    return joined.train(norms[0].training)

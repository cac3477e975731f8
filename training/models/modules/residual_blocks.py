"""Residual blocks of HRNet's and DEKR's heads: with plain and with adaptive convolutions."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn import functional
from torchvision.ops import DeformConv2d

_ROWS = (-1, -1, -1, 0, 0, 0, 1, 1, 1)
_COLUMNS = (-1, 0, 1, -1, 0, 1, -1, 0, 1)
TAPS = len(_ROWS)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside the identity (He et al., ResNet, 2016).

    Args:
        channels: in and out.
        dilation: of both convolutions.
    """

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()

        def convolution() -> nn.Conv2d:
            return nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)

        self.conv1 = convolution()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = convolution()
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of the same shape."""
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + x)


class AdaptBlock(nn.Module):
    """A 3x3 convolution whose taps each cell places anew, beside the identity.

    A cell's 2x2 matrix maps the regular places of the nine taps, and its translation moves them
    all (Geng et al., DEKR, 2021; DeepLabCut's models/modules/conv_block.py).

    Args:
        channels: in and out.
        dilation: of the places that the taps would have without a matrix; as in DeepLabCut, the
            matrix maps places one cell apart whatever the dilation is.
    """

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.dilation = dilation
        # [2, 9]: row and column of each tap.
        self.register_buffer("regular_matrix", torch.tensor([_ROWS, _COLUMNS]).float())
        self.transform_matrix_conv = nn.Conv2d(channels, 4, 3, padding=1)
        self.translation_conv = nn.Conv2d(channels, 2, 3, padding=1)
        self.adapt_conv = DeformConv2d(
            channels, channels, 3, padding=dilation, dilation=dilation, bias=False
        )
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of the same shape."""
        y: torch.Tensor = self.bn(self.adapt_conv(x, self._displacements(x)))
        return functional.relu(y + x)

    def _displacements(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 18, H, W]: row and column of each tap, relative to its regular place."""
        regular = cast(torch.Tensor, self.regular_matrix)
        matrix = self.transform_matrix_conv(x).unflatten(1, (2, 2))
        places = torch.einsum("nijhw,jk->nkihw", matrix, regular)
        moved = places - regular.T[:, :, None, None] + self.translation_conv(x)[:, None]
        displacements: torch.Tensor = moved.flatten(1, 2)
        return displacements

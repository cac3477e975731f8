"""Parts of CSPNeXt (Lyu et al., RTMDet, 2022), with DeepLabCut's parameter names.

DeepLabCut builds them with SyncBatchNorm, which has the same state dict and the same numbers as
BatchNorm2d outside of distributed training, and does not train on a CPU; here it is BatchNorm2d.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

Activation = Literal["SiLU", "ReLU"]
_ACTIVATIONS: dict[str, type[nn.Module]] = {"SiLU": nn.SiLU, "ReLU": nn.ReLU}


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """In place of DeepLabCut's SyncBatchNorm, which its freezing of batch norms passes over."""


class ConvModule(nn.Module):
    """Convolution, batch norm, activation; "same" padding."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: Activation = "SiLU",
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            groups=groups,
            bias=False,
        )
        self.norm = nn.BatchNorm2d(out_channels)
        self.activate = _ACTIVATIONS[activation]()
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features [N, out_channels, H / stride, W / stride]."""
        y: torch.Tensor = self.activate(self.norm(self.conv(x)))
        return y


class SPPBottleneck(nn.Module):
    """Spatial pyramid pooling: max-pools of several sizes side by side."""

    def __init__(
        self, channels: int, *, pools: tuple[int, ...] = (5, 9, 13), activation: Activation = "SiLU"
    ) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = ConvModule(channels, half, 1, activation=activation)
        self.poolings = nn.ModuleList(
            nn.MaxPool2d(size, stride=1, padding=size // 2) for size in pools
        )
        self.conv2 = ConvModule(half * (len(pools) + 1), channels, 1, activation=activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of the same shape."""
        x = self.conv1(x)
        pooled: torch.Tensor = self.conv2(torch.cat([x, *(pool(x) for pool in self.poolings)], 1))
        return pooled


class ChannelAttention(nn.Module):
    """Each channel weighed by a hard sigmoid of all channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.global_avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Conv2d(channels, channels, 1)
        self.act = nn.Hardsigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of the same shape."""
        weight: torch.Tensor = self.act(self.fc(self.global_avgpool(x)))
        return x * weight


class DepthwiseSeparableConv(nn.Module):
    """A depthwise and a pointwise convolution, each with norm and activation."""

    def __init__(self, channels: int, kernel_size: int, activation: Activation) -> None:
        super().__init__()
        self.depthwise_conv = ConvModule(
            channels, channels, kernel_size, groups=channels, activation=activation
        )
        self.pointwise_conv = ConvModule(channels, channels, 1, activation=activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of the same shape."""
        y: torch.Tensor = self.pointwise_conv(self.depthwise_conv(x))
        return y


class CSPNeXtBlock(nn.Module):
    """A 3x3 convolution and a separable 5x5 one, with an optional skip."""

    def __init__(self, channels: int, *, add_identity: bool, activation: Activation) -> None:
        super().__init__()
        self.conv1 = ConvModule(channels, channels, 3, activation=activation)
        self.conv2 = DepthwiseSeparableConv(channels, 5, activation)
        self.add_identity = add_identity

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of the same shape."""
        y: torch.Tensor = self.conv2(self.conv1(x))
        return y + x if self.add_identity else y


class CSPLayer(nn.Module):
    """Half of the channels through blocks, half around them (cross-stage partial)."""

    def __init__(
        self,
        channels: int,
        *,
        num_blocks: int,
        add_identity: bool,
        expand_ratio: float = 0.5,
        channel_attention: bool = True,
        activation: Activation = "SiLU",
    ) -> None:
        super().__init__()
        hidden = int(channels * expand_ratio)
        self.main_conv = ConvModule(channels, hidden, 1, activation=activation)
        self.short_conv = ConvModule(channels, hidden, 1, activation=activation)
        self.final_conv = ConvModule(2 * hidden, channels, 1, activation=activation)
        self.blocks = nn.Sequential(
            *(
                CSPNeXtBlock(hidden, add_identity=add_identity, activation=activation)
                for _ in range(num_blocks)
            )
        )
        if channel_attention:
            self.attention = ChannelAttention(2 * hidden)
        self.channel_attention = channel_attention

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of the same shape."""
        joined = torch.cat([self.blocks(self.main_conv(x)), self.short_conv(x)], 1)
        if self.channel_attention:
            joined = self.attention(joined)
        y: torch.Tensor = self.final_conv(joined)
        return y

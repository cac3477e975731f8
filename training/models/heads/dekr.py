"""DEKR's head: heatmaps, and for each keypoint where it is seen from the animal's centre."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from dlc_deploy.errors import ConfigError

from ..criterions import BaseCriterion, BaseLossAggregator
from ..modules.residual_blocks import AdaptBlock, BasicBlock
from ..predictors import BasePredictor
from ..target_generators import BaseGenerator
from ..weight_init import BaseWeightInitializer
from .base import HEADS, BaseHead


@HEADS.register_module
class DEKRHead(BaseHead):
    """Outputs ``heatmap`` [N, K + 1, h, w], the last one of animal centres, and ``offset``
    [N, 2K, h, w]: x and y of each keypoint in turn, in cells, from the keypoint to the cell.

    Geng et al., Bottom-Up Human Pose Estimation Via Disentangled Keypoint Regression (2021).

    Args:
        predictor, target_generator, criterion, aggregator, weight_init: see :class:`BaseHead`.
        heatmap_config: arguments of :class:`DEKRHeatmap`.
        offset_config: arguments of :class:`DEKROffset`.
        stride: see :class:`BaseHead`; the head keeps the resolution of its features.
    """

    def __init__(
        self,
        predictor: BasePredictor,
        target_generator: BaseGenerator,
        criterion: Mapping[str, BaseCriterion],
        aggregator: BaseLossAggregator,
        heatmap_config: Mapping[str, Any],
        offset_config: Mapping[str, Any],
        weight_init: str | Mapping[str, Any] | BaseWeightInitializer | None = "dekr",
        stride: int | float = 1,
    ) -> None:
        super().__init__(stride, predictor, target_generator, criterion, aggregator, weight_init)
        self.heatmap_head = DEKRHeatmap(**heatmap_config)
        self.offset_head = DEKROffset(**offset_config)
        self._init_weights()

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """See :class:`BaseHead`."""
        return {"heatmap": self.heatmap_head(x), "offset": self.offset_head(x)}


class DEKRHeatmap(nn.Module):
    """Features to heatmaps.

    Args:
        channels: of the features, of the blocks, and K + 1.
        num_blocks: residual blocks.
        dilation_rate: of their convolutions.
        final_conv_kernel: of the convolution that makes the heatmaps.
    """

    def __init__(
        self,
        channels: Sequence[int],
        num_blocks: int,
        dilation_rate: int,
        final_conv_kernel: int,
    ) -> None:
        super().__init__()
        features, width, heatmaps = channels
        self.transition_heatmap = _transition(features, width)
        blocks = [BasicBlock(width, dilation_rate) for _ in range(num_blocks)]
        self.head_heatmap = nn.ModuleList(
            [nn.Sequential(*blocks), _final(width, heatmaps, final_conv_kernel)]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Heatmaps [N, K + 1, h, w] of features [N, C, h, w]."""
        x = self.transition_heatmap(x)
        for layer in self.head_heatmap:
            x = layer(x)
        return x


class DEKROffset(nn.Module):
    """Features to offsets; each keypoint has its own share of channels and its own blocks.

    Args:
        channels: of the features, ``num_offset_per_kpt`` times K, and K.
        num_offset_per_kpt: channels of one keypoint's blocks.
        num_blocks: adaptive blocks of a keypoint.
        dilation_rate: of their convolutions.
        final_conv_kernel: of the convolution that makes a keypoint's two offsets.
    """

    def __init__(
        self,
        channels: Sequence[int],
        num_offset_per_kpt: int,
        num_blocks: int,
        dilation_rate: int,
        final_conv_kernel: int,
    ) -> None:
        super().__init__()
        features, width, keypoints = channels
        if width != keypoints * num_offset_per_kpt:
            raise ConfigError(
                f"offset_config: expected channels[1] = num_offset_per_kpt * channels[2] = "
                f"{keypoints * num_offset_per_kpt}, got {width}."
            )
        self.transition_offset = _transition(features, width)
        self.offset_feature_layers = nn.ModuleList(
            nn.Sequential(
                *(AdaptBlock(num_offset_per_kpt, dilation_rate) for _ in range(num_blocks))
            )
            for _ in range(keypoints)
        )
        self.offset_final_layer = nn.ModuleList(
            _final(num_offset_per_kpt, 2, final_conv_kernel) for _ in range(keypoints)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Offsets [N, 2K, h, w] of features [N, C, h, w]."""
        shares = self.transition_offset(x).chunk(len(self.offset_final_layer), dim=1)
        layers = zip(shares, self.offset_feature_layers, self.offset_final_layer, strict=True)
        return torch.cat([final(blocks(share)) for share, blocks, final in layers], dim=1)


def _transition(features: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(features, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
    )


def _final(width: int, maps: int, kernel: int) -> nn.Conv2d:
    # DeepLabCut pads a kernel of 3 only; wider ones make the maps smaller.
    return nn.Conv2d(width, maps, kernel, padding=1 if kernel == 3 else 0)

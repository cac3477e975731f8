"""Heatmaps and location refinement fields by transposed convolutions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from dlc_deploy.errors import ConfigError

from ...snapshots import State
from ..criterions import BaseCriterion, BaseLossAggregator
from ..predictors import BasePredictor
from ..target_generators import BaseGenerator
from ..weight_init import BaseWeightInitializer
from .base import HEADS, BaseHead
from .conversion import convert_maps


@HEADS.register_module
class HeatmapHead(BaseHead):
    """Outputs ``heatmap`` [N, K, h, w] and, if configured, ``locref`` [N, 2K, h, w].

    Args:
        predictor, target_generator, criterion, aggregator, weight_init: see :class:`BaseHead`.
        heatmap_config: arguments of :class:`DeconvModule`.
        locref_config: the same for ``locref``; no such output when None.
    """

    def __init__(
        self,
        predictor: BasePredictor,
        target_generator: BaseGenerator,
        criterion: Mapping[str, BaseCriterion] | BaseCriterion,
        aggregator: BaseLossAggregator | None,
        heatmap_config: Mapping[str, Any],
        locref_config: Mapping[str, Any] | None = None,
        weight_init: str | Mapping[str, Any] | BaseWeightInitializer | None = None,
    ) -> None:
        heatmap_head = DeconvModule(**heatmap_config)
        locref_head = None if locref_config is None else DeconvModule(**locref_config)
        if locref_head is not None and locref_head.stride != heatmap_head.stride:
            raise ConfigError(
                "heatmap_config and locref_config: expected the same product of strides, got "
                f"{heatmap_head.stride} and {locref_head.stride}."
            )
        super().__init__(
            heatmap_head.stride, predictor, target_generator, criterion, aggregator, weight_init
        )
        self.heatmap_head = heatmap_head
        self.locref_head = locref_head
        self._init_weights()

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """See :class:`BaseHead`."""
        outputs = {"heatmap": self.heatmap_head(x)}
        if self.locref_head is not None:
            outputs["locref"] = self.locref_head(x)
        return outputs

    def convert_weights(self, state: State, conversion: Sequence[int]) -> dict[str, torch.Tensor]:
        """See :class:`BaseHead`."""
        pairs = [channel for place in conversion for channel in (2 * place, 2 * place + 1)]
        return convert_maps(convert_maps(state, "heatmap_head", conversion), "locref_head", pairs)


class DeconvModule(nn.Module):
    """Transposed convolutions with ReLU between them, then a convolution if one is configured.

    Attributes:
        stride: how many cells a feature cell becomes.

    Args:
        channels: of the input and of each layer's output.
        kernel_size, strides: one for each layer; may be empty.
        final_conv: ``out_channels`` and ``kernel_size``.
    """

    def __init__(
        self,
        channels: Sequence[int],
        kernel_size: Sequence[int],
        strides: Sequence[int],
        final_conv: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        if not len(channels) == len(kernel_size) + 1 == len(strides) + 1:
            raise ConfigError(
                "Expected one more entry in channels than in kernel_size and in strides, got "
                f"{len(channels)}, {len(kernel_size)} and {len(strides)}."
            )
        self.stride = math.prod(strides)
        layers: list[nn.Module] = []
        for place, (kernel, stride) in enumerate(zip(kernel_size, strides, strict=True)):
            layers += [
                nn.ConvTranspose2d(channels[place], channels[place + 1], kernel, stride=stride),
                nn.ReLU(),
            ]
        self.deconv_layers = nn.Sequential(*layers[:-1]) if layers else nn.Identity()
        self.final_conv = (
            nn.Conv2d(channels[-1], final_conv["out_channels"], final_conv["kernel_size"])
            if final_conv
            else nn.Identity()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps of features [N, C, H, W]."""
        maps: torch.Tensor = self.final_conv(self.deconv_layers(x))
        return maps

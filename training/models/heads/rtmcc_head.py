"""RTMPose's head: coordinates as classes, one row of bins for x and one for y."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ...snapshots import State
from ..criterions import BaseCriterion, BaseLossAggregator
from ..modules.gated_attention_unit import GatedAttentionUnit, ScaleNorm
from ..predictors import BasePredictor
from ..target_generators import BaseGenerator
from ..weight_init import BaseWeightInitializer
from .base import HEADS, BaseHead
from .conversion import choose_places, convert_relative_bias


@HEADS.register_module
class RTMCCHead(BaseHead):
    """Outputs ``x`` [N, K, width * split_ratio] and ``y`` [N, K, height * split_ratio], as logits.

    Jiang et al., RTMPose (2023), on Li et al., SimCC (2022).

    Args:
        input_size: (width, height) of the network's input.
        in_channels: of the backbone's features.
        out_channels: K, keypoints.
        in_featuremap_size: (height, width) of the features.
        simcc_split_ratio: bins per pixel.
        final_layer_kernel_size: of the convolution that makes a map of each keypoint.
        gau_cfg: hidden_dims and the options of :class:`GatedAttentionUnit`.
        predictor, target_generator, criterion, aggregator, weight_init: see :class:`BaseHead`.
    """

    def __init__(
        self,
        input_size: Sequence[int],
        in_channels: int,
        out_channels: int,
        in_featuremap_size: Sequence[int],
        simcc_split_ratio: float,
        final_layer_kernel_size: int,
        gau_cfg: Mapping[str, Any],
        predictor: BasePredictor,
        target_generator: BaseGenerator,
        criterion: Mapping[str, BaseCriterion],
        aggregator: BaseLossAggregator,
        weight_init: str | Mapping[str, Any] | BaseWeightInitializer | None = None,
    ) -> None:
        super().__init__(1, predictor, target_generator, criterion, aggregator, weight_init)
        options = dict(gau_cfg)
        hidden = options.pop("hidden_dims")
        cells = in_featuremap_size[0] * in_featuremap_size[1]
        self.gau = GatedAttentionUnit(out_channels, hidden, **options)
        self.final_layer = nn.Conv2d(
            in_channels,
            out_channels,
            final_layer_kernel_size,
            padding=final_layer_kernel_size // 2,
        )
        self.mlp = nn.Sequential(ScaleNorm(cells), nn.Linear(cells, hidden, bias=False))
        self.cls_x = nn.Linear(hidden, int(input_size[0] * simcc_split_ratio), bias=False)
        self.cls_y = nn.Linear(hidden, int(input_size[1] * simcc_split_ratio), bias=False)
        self._init_weights()

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """See :class:`BaseHead`."""
        tokens = self.gau(self.mlp(self.final_layer(x).flatten(2)))
        return {"x": self.cls_x(tokens), "y": self.cls_y(tokens)}

    def convert_weights(self, state: State, conversion: Sequence[int]) -> dict[str, torch.Tensor]:
        """See :class:`BaseHead`."""
        converted = dict(state)
        for name in ("final_layer.weight", "final_layer.bias"):
            if name in state:
                converted[name] = choose_places(state[name], conversion)
        if "gau.w" in state:
            converted["gau.w"] = convert_relative_bias(state["gau.w"], conversion)
        return converted

"""Heatmaps, location refinement and part affinity fields, refined in stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...snapshots import State
from ..criterions import BaseCriterion, BaseLossAggregator
from ..predictors import BasePredictor
from ..target_generators import BaseGenerator
from ..weight_init import BaseWeightInitializer
from .base import HEADS, BaseHead
from .heatmap import DeconvModule, HeatmapHead


@HEADS.register_module
class DLCRNetHead(HeatmapHead):
    """Outputs ``heatmap`` [N, K, h, w], ``locref`` [N, 2K, h, w] and ``paf`` [N, 2E, h, w].

    With stages, features become twice as large, and each stage draws heatmaps and fields anew from
    those of the stage before (Lauer et al., 2022; DeepLabCut's models/heads/dlcrnet.py). The first
    and last entries of the configured ``channels`` then say how many channels the features and the
    outputs have; the transposed convolutions at the end take what the last stage gives.

    Args:
        predictor, target_generator, criterion, aggregator, weight_init: see :class:`BaseHead`.
        heatmap_config, locref_config, paf_config: arguments of :class:`DeconvModule`.
        num_stages: refinements; without any, all outputs come from the features alone. The modules
            of the first stage are there all the same, as in DeepLabCut.
        features_dim: channels of the features that every stage sees.
    """

    locref_head: DeconvModule

    def __init__(
        self,
        predictor: BasePredictor,
        target_generator: BaseGenerator,
        criterion: Mapping[str, BaseCriterion] | BaseCriterion,
        aggregator: BaseLossAggregator | None,
        heatmap_config: Mapping[str, Any],
        locref_config: Mapping[str, Any],
        paf_config: Mapping[str, Any],
        num_stages: int = 5,
        features_dim: int = 128,
        weight_init: str | Mapping[str, Any] | BaseWeightInitializer | None = None,
    ) -> None:
        channels = heatmap_config["channels"][0]
        keypoints, locrefs, fields = (
            config["channels"][-1] for config in (heatmap_config, locref_config, paf_config)
        )
        refined = keypoints + fields + features_dim
        if num_stages > 0:
            heatmap_config = _taking(refined, heatmap_config)
            locref_config = _taking(locrefs, locref_config)
            paf_config = _taking(refined, paf_config)
        super().__init__(
            predictor,
            target_generator,
            criterion,
            aggregator,
            heatmap_config,
            locref_config,
            weight_init,
        )
        if num_stages > 0:
            self.stride *= 2
        self.paf_head = DeconvModule(**paf_config)
        self.convt1 = _doubling(channels, keypoints)
        self.convt2 = _doubling(channels, locrefs)
        self.convt3 = _doubling(channels, fields)
        self.convt4 = _doubling(channels, features_dim)
        self.hm_ref_layers = _refinements(num_stages, refined, keypoints)
        self.paf_ref_layers = _refinements(num_stages, refined, fields)
        self._init_weights()

    def convert_weights(self, state: State, conversion: Sequence[int]) -> dict[str, Tensor]:
        """See :class:`BaseHead`; fields link other bodyparts than those of the snapshot."""
        return BaseHead.convert_weights(self, state, conversion)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """See :class:`BaseHead`."""
        refined, located = x, x
        if len(self.hm_ref_layers):
            refined, located = self._refine(x), self.convt2(x)
        return {
            "heatmap": self.heatmap_head(refined),
            "locref": self.locref_head(located),
            "paf": self.paf_head(refined),
        }

    def _refine(self, x: Tensor) -> Tensor:
        """Heatmaps, fields and features after the last stage, [N, K + 2E + features_dim, 2h, 2w].

        From the second stage on, heatmaps are added to those of the stage before.
        """
        heatmap, field, features = self.convt1(x), self.convt3(x), self.convt4(x)
        stacked = torch.cat([heatmap, field, features], dim=1)
        stages = zip(self.hm_ref_layers, self.paf_ref_layers, strict=True)
        for stage, (refine_heatmap, refine_field) in enumerate(stages):
            drawn = refine_heatmap(stacked)
            heatmap = drawn if stage == 0 else drawn + heatmap
            stacked = torch.cat([heatmap, refine_field(stacked), features], dim=1)
        return stacked


def _taking(channels: int, config: Mapping[str, Any]) -> dict[str, Any]:
    """A :class:`DeconvModule`'s configuration with another number of input channels."""
    return {**config, "channels": [channels, *config["channels"][1:]]}


def _doubling(channels: int, out: int) -> nn.ConvTranspose2d:
    """Twice the height and width, exactly."""
    return nn.ConvTranspose2d(channels, out, 3, stride=2, padding=1, output_padding=1)


def _refinements(stages: int, channels: int, out: int) -> nn.ModuleList:
    return nn.ModuleList(nn.Conv2d(channels, out, 3, padding="same") for _ in range(stages))

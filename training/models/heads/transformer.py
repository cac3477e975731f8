"""TokenPose's head: each keypoint's token becomes its heatmap."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from ..criterions import BaseCriterion
from ..necks.transformer import init_narrow
from ..predictors import BasePredictor
from ..target_generators import BaseGenerator
from .base import HEADS, BaseHead


@HEADS.register_module
class TransformerHead(BaseHead):
    """Output ``heatmap`` [N, K, h, w] of keypoint tokens [N, K, 3 * dim].

    Li et al., TokenPose (2021); behind :class:`Transformer`.

    Args:
        predictor, target_generator, criterion: see :class:`BaseHead`.
        dim: a third of a token's length.
        hidden_heatmap_dim: of the hidden layer.
        heatmap_dim: cells of a heatmap.
        apply_multi: have a hidden layer, if it is at least twice as wide as a token; it never is
            with DeepLabCut's own numbers.
        heatmap_size: (h, w).
        apply_init: draw the weights from a narrow normal distribution.
        head_stride: see ``stride`` of :class:`BaseHead`; of neck and head together.
    """

    def __init__(
        self,
        predictor: BasePredictor,
        target_generator: BaseGenerator,
        criterion: BaseCriterion,
        dim: int,
        hidden_heatmap_dim: int,
        heatmap_dim: int,
        apply_multi: bool,
        heatmap_size: Sequence[int],
        apply_init: bool,
        head_stride: int,
    ) -> None:
        super().__init__(head_stride, predictor, target_generator, criterion)
        widths = [3 * dim, heatmap_dim]
        if apply_multi and 2 * 3 * dim <= hidden_heatmap_dim:
            widths.insert(1, hidden_heatmap_dim)
        self.mlp_head = nn.Sequential()
        for width, following in pairwise(widths):
            self.mlp_head.extend([nn.LayerNorm(width), nn.Linear(width, following)])
        self.heatmap_size = tuple(heatmap_size)
        if apply_init:
            self.apply(init_narrow)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """See :class:`BaseHead`."""
        return {"heatmap": self.mlp_head(x).unflatten(2, self.heatmap_size)}

"""Divergence between rows of bins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from .base import CRITERIONS, BaseCriterion


@CRITERIONS.register_module
class KLDiscreteLoss(BaseCriterion):
    """Kullback-Leibler divergence of softmaxed rows, meaned over bins and keypoints, summed over
    the batch; as DeepLabCut's (from MMPose).

    Args:
        beta: the outputs are multiplied by it before the softmax.
        label_softmax: take the softmax of the targets too.
        label_beta: what they are multiplied by before it.
        use_target_weight: weigh keypoints by the target generator's weights.
        mask: keypoints whose loss is multiplied by ``mask_weight``.
        mask_weight: see ``mask``.
    """

    def __init__(
        self,
        beta: float = 1.0,
        label_softmax: bool = False,
        label_beta: float = 10.0,
        use_target_weight: bool = True,
        mask: Sequence[int] | None = None,
        mask_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.beta = beta
        self.label_softmax = label_softmax
        self.label_beta = label_beta
        self.use_target_weight = use_target_weight
        self.mask = None if mask is None else list(mask)
        self.mask_weight = mask_weight

    def forward(
        self,
        output: torch.Tensor,
        target: torch.Tensor,
        weights: torch.Tensor | float = 1.0,
        **_: Any,
    ) -> torch.Tensor:
        """The loss of ``output`` [N, K, bins]; target and weights may have one individual more."""
        count, keypoints, bins = output.shape
        target = target.reshape(count, keypoints, bins)
        if self.label_softmax:
            target = (target * self.label_beta).softmax(-1)
        logarithm = (output * self.beta).log_softmax(-1)
        loss = functional.kl_div(logarithm, target, reduction="none").mean(-1)
        if self.use_target_weight and isinstance(weights, torch.Tensor):
            loss = loss * weights.reshape(count, keypoints)
        if self.mask is not None:
            factor = torch.ones(keypoints, device=loss.device)
            factor[self.mask] = self.mask_weight
            loss = loss * factor
        return loss.sum() / keypoints

"""Keypoints from coordinate classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .base import PREDICTORS, BasePredictor, Outputs


@PREDICTORS.register_module
class SimCCPredictor(BasePredictor):
    """The best bin of x and of y; the score is the smaller of their two heights.

    As DeepLabCut's models/predictors/sim_cc.py (Li et al., SimCC, 2022): x = bin / split_ratio
    without a half bin. Where the score is no better than a flat row's (1 / bins, with softmax; 0
    without) the bin becomes -1.

    Args:
        simcc_split_ratio: bins per pixel.
        apply_softmax: the outputs are logits.
        normalize_outputs: divide rows that exceed 1 by their maximum; logits are not scaled.
        sigma: of the training targets, one for both axes or (x, y); with ``decode_beta`` it scales
            the logits.
        decode_beta: see ``sigma``.
    """

    def __init__(
        self,
        simcc_split_ratio: float = 2.0,
        apply_softmax: bool = True,
        normalize_outputs: bool = False,
        sigma: float | Sequence[float] = 6.0,
        decode_beta: float = 150.0,
    ) -> None:
        super().__init__()
        self.simcc_split_ratio = simcc_split_ratio
        self.apply_softmax = apply_softmax
        self.normalize_outputs = normalize_outputs
        pair = (sigma, sigma) if isinstance(sigma, int | float) else tuple(sigma)
        self.factors = tuple(one * decode_beta for one in pair)

    def decode(self, stride: float, outputs: Outputs) -> Outputs:
        """``poses`` [N, 1, K, 3] of ``x`` [N, K, bins] and ``y`` [N, K, bins]."""
        axes = [
            self._best(outputs[axis], factor)
            for axis, factor in zip("xy", self.factors, strict=True)
        ]
        bins = torch.stack([best for best, _ in axes], dim=-1).float()
        score = torch.minimum(axes[0][1], axes[1][1]).unsqueeze(-1)
        flat = 1 / outputs["x"].shape[-1] if self.apply_softmax else 0.0
        bins = torch.where(score > flat, bins, -1.0)
        return {"poses": torch.cat([bins / self.simcc_split_ratio, score], -1).unsqueeze(1)}

    def _best(self, row: torch.Tensor, factor: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Index and height [N, K] of the best bin; of equal ones the first."""
        if self.normalize_outputs:
            row = row.clamp(min=0)
            highest = row.amax(-1, keepdim=True)
            row = torch.where(highest > 1, row / highest, row)
        else:
            row = row * factor
        if self.apply_softmax:
            row = row.softmax(-1)
        best = row.argmax(-1, keepdim=True)
        return best.squeeze(-1), row.gather(-1, best).squeeze(-1)

"""Keypoints of one animal from heatmaps, refined by location refinement fields."""

from __future__ import annotations

import torch

from .base import PREDICTORS, BasePredictor, Outputs


@PREDICTORS.register_module
class HeatmapPredictor(BasePredictor):
    """The highest cell of each heatmap, moved by the location refinement field at that cell.

    x = cell * stride + stride / 2 + locref_x * locref_std, and y likewise; of equal cells the first
    in reading order wins. As DeepLabCut's models/predictors/single_predictor.py; the idea is from
    Insafutdinov et al., DeeperCut (2016).

    Args:
        apply_sigmoid: the heatmaps are logits.
        clip_scores: clip the scores (not the heatmaps) to 0..1.
        location_refinement: the head gives ``locref``.
        locref_std: pixels for one unit of ``locref``.
    """

    def __init__(
        self,
        apply_sigmoid: bool = True,
        clip_scores: bool = False,
        location_refinement: bool = True,
        locref_std: float = 7.2801,
    ) -> None:
        super().__init__()
        self.apply_sigmoid = apply_sigmoid
        self.clip_scores = clip_scores
        self.location_refinement = location_refinement
        self.locref_std = locref_std

    def decode(self, stride: float, outputs: Outputs) -> Outputs:
        """``poses`` [N, 1, K, 3] of ``heatmap`` [N, K, h, w] and ``locref`` [N, 2K, h, w]."""
        heatmap = outputs["heatmap"]
        if self.apply_sigmoid:
            heatmap = heatmap.sigmoid()
        columns = heatmap.shape[3]
        cells = heatmap.flatten(2)
        best = cells.argmax(dim=2, keepdim=True)
        score = cells.gather(2, best).squeeze(2)
        if self.clip_scores:
            score = score.clamp(0, 1)
        row = torch.div(best, columns, rounding_mode="floor")
        # Not best % columns: onnxscript 0.7 has no remainder by a size that is free.
        cell = torch.cat([best - row * columns, row], dim=2)
        xy = cell * stride + 0.5 * stride
        if self.location_refinement:
            xy = xy + self._refinement(outputs["locref"], best) * self.locref_std
        return {"poses": torch.cat([xy, score.unsqueeze(2)], dim=2).unsqueeze(1)}

    @staticmethod
    def _refinement(locref: torch.Tensor, best: torch.Tensor) -> torch.Tensor:
        """Values [N, K, 2] of ``locref``, whose channels are pairs, at cells ``best`` [N, K, 1]."""
        pairs: torch.Tensor = locref.flatten(2).unflatten(1, (-1, 2))
        return pairs.gather(3, best.unsqueeze(2).expand(-1, -1, 2, -1)).squeeze(3)

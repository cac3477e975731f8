"""Animals from heatmaps of their centres and offsets to their keypoints."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch.nn import functional

from dlc_deploy.errors import ConfigError
from dlc_deploy.grouping import PoseNmsGrouping
from dlc_deploy.runtime.assembly import group

from .base import PREDICTORS, BasePredictor, Outputs

ScoreType = Literal["combined", "center", "heatmap"]
_NEIGHBOURHOOD = 5
# Far below any score, and far enough above the smallest float32 that every cell has its own.
_RANK = -1e-30


@PREDICTORS.register_module
class DEKRPredictor(BasePredictor):
    """The highest peaks of the centre map, each with the keypoints its offsets lead to.

    As DeepLabCut's models/predictors/dekr_predictor.py (Geng et al., DEKR, 2021): a peak is a cell
    that none of the 5x5 around it exceeds, a keypoint is the peak's cell minus its offset, and
    x = cell * stride + stride / 2, y likewise. There are always ``num_animals`` poses, of whatever
    score. Where the map has fewer peaks above 0, cells that are no peaks stand in for them with a
    centre score of 0: here the first in reading order, so that every engine gives the same ones,
    while DeepLabCut leaves the choice among them to the sorting of torch.topk.

    Args:
        num_animals: I, how many poses to return.
        detection_threshold: DeepLabCut's configurations may name it; DeepLabCut does not use it.
        apply_sigmoid: the heatmaps are logits.
        clip_scores: clip the scores to 0..1.
        use_heatmap: move a keypoint to the nearest of the I highest peaks of its own heatmap; only
            peaks then have a score other than 0 in that heatmap.
        keypoint_score_type: the height of the centre's peak (``center``), that of the keypoint's
            heatmap at its cell (``heatmap``), or their product.
        max_absorb_distance: how near, in cells, a peak must be for ``use_heatmap``.
        nms_threshold: of :class:`PoseNmsGrouping`.
        apply_pose_nms: drop poses that lie on better ones.
    """

    def __init__(
        self,
        num_animals: int,
        detection_threshold: float = 0.01,
        apply_sigmoid: bool = True,
        clip_scores: bool = False,
        use_heatmap: bool = True,
        keypoint_score_type: ScoreType = "combined",
        max_absorb_distance: float = 75,
        nms_threshold: float = 0.05,
        apply_pose_nms: bool = True,
    ) -> None:
        super().__init__()
        if keypoint_score_type not in get_args(ScoreType):
            raise ConfigError(
                f"DEKRPredictor: expected keypoint_score_type {', '.join(get_args(ScoreType))}, "
                f"got {keypoint_score_type!r}."
            )
        self.num_animals = num_animals
        self.detection_threshold = detection_threshold
        self.apply_sigmoid = apply_sigmoid
        self.clip_scores = clip_scores
        self.use_heatmap = use_heatmap
        self.keypoint_score_type = keypoint_score_type
        self.max_absorb_distance = max_absorb_distance
        self.nms_threshold = nms_threshold
        self.apply_pose_nms = apply_pose_nms

    @property
    def grouping(self) -> PoseNmsGrouping | None:
        """See :class:`BasePredictor`."""
        return PoseNmsGrouping(threshold=self.nms_threshold) if self.apply_pose_nms else None

    def decode(self, stride: float, outputs: Outputs) -> Outputs:
        """``poses`` [N, I, K, 3], best centre first, of ``heatmap`` [N, K + 1, h, w] and ``offset``
        [N, 2K, h, w]."""
        heatmap = outputs["heatmap"]
        if self.apply_sigmoid:
            heatmap = heatmap.sigmoid()
        maps, centre = heatmap[:, :-1], _peaks(heatmap[:, -1:])
        best = self._highest(centre)
        cells = _cells(best, centre) - _values(outputs["offset"], best)
        if self.use_heatmap:
            maps = _peaks(maps)
            cells = self._absorbed(cells, maps)
        score = self._scores(cells, maps, centre.flatten(2).gather(2, best).transpose(1, 2))
        if self.clip_scores:
            score = score.clamp(0, 1)
        xy = cells * stride + 0.5 * stride
        return {"poses": torch.cat([xy, score.unsqueeze(3)], dim=3)}

    def forward(self, stride: float, outputs: Outputs) -> Outputs:
        """``poses``; those dropped are -1 throughout and stand last. With ``apply_pose_nms`` the
        lowest score is first, as in DeepLabCut."""
        poses = self.decode(stride, outputs)["poses"]
        if self.grouping is None:
            return {"poses": poses}
        kept = group(self.grouping, {"poses": poses.detach().cpu().numpy()}).poses
        return {"poses": torch.from_numpy(kept).to(poses.device).nan_to_num(-1)}

    def _highest(self, peaks: torch.Tensor) -> torch.Tensor:
        """Cells [N, C, I], as places in reading order, of the highest peaks of [N, C, h, w]."""
        height, width = peaks.shape[2:]
        # Engines differ in what they take of equal values: none are equal.
        rank = torch.arange(height * width, device=peaks.device) * _RANK
        values = peaks.flatten(2)
        ranked = torch.where(values == 0, rank.to(values.dtype), values)
        best: torch.Tensor = ranked.topk(self.num_animals, dim=2).indices
        return best

    def _absorbed(self, cells: torch.Tensor, peaks: torch.Tensor) -> torch.Tensor:
        """Keypoints [N, I, K, 2] (x, y), moved to the nearest of the highest ``peaks``."""
        best = self._highest(peaks)
        places = _cells(best, peaks).transpose(1, 2).unsqueeze(1)
        distance = torch.linalg.vector_norm(cells.unsqueeze(3) - places, dim=4)
        nearest = distance.argmin(dim=3, keepdim=True)
        index = nearest.unsqueeze(4).expand(-1, -1, -1, -1, 2)
        place = places.expand(-1, self.num_animals, -1, -1, -1).gather(3, index).squeeze(3)
        near = distance.gather(3, nearest) < self.max_absorb_distance
        return torch.where(near, place, cells)

    def _scores(
        self, cells: torch.Tensor, maps: torch.Tensor, centre: torch.Tensor
    ) -> torch.Tensor:
        """Scores [N, I, K] of keypoints [N, I, K, 2] (x, y) with centre scores [N, I, 1]."""
        if self.keypoint_score_type == "center":
            return centre.expand(-1, -1, cells.shape[2])
        height, width = maps.shape[2:]
        column = cells[..., 0].floor().clamp(0, width - 1).long()
        row = cells[..., 1].floor().clamp(0, height - 1).long()
        index = (row * width + column).transpose(1, 2)
        heat = maps.flatten(2).gather(2, index).transpose(1, 2)
        return heat if self.keypoint_score_type == "heatmap" else centre * heat


def _peaks(maps: torch.Tensor) -> torch.Tensor:
    """``maps`` [N, C, h, w] with 0 where a cell of the neighbourhood is higher."""
    highest = functional.max_pool2d(maps, _NEIGHBOURHOOD, 1, _NEIGHBOURHOOD // 2)
    return torch.where(maps == highest, maps, 0.0)


def _cells(places: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """(x, y) [N, P, C, 2] of places [N, C, P] in reading order of ``maps`` [N, C, h, w]."""
    width = maps.shape[3]
    row = torch.div(places, width, rounding_mode="floor")
    # Not places % width: onnxscript 0.7 has no remainder by a size that is free.
    cells = torch.stack([places - row * width, row], dim=3)
    return cells.transpose(1, 2).to(maps.dtype)


def _values(offset: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Pairs [N, P, K, 2] of ``offset`` [N, 2K, h, w] at ``places`` [N, 1, P] in reading order."""
    values = offset.flatten(2).gather(2, places.expand(-1, offset.shape[1], -1))
    pairs: torch.Tensor = values.unflatten(1, (-1, 2))
    return pairs.permute(0, 3, 1, 2)

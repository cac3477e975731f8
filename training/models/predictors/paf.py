"""Peaks of each bodypart, and how well part affinity fields link them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dlc_deploy.errors import ConfigError
from dlc_deploy.grouping import PafGrouping
from dlc_deploy.runtime.assembly import group

from .base import PREDICTORS, BasePredictor, Outputs

Values = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
_MIN_HEIGHT = 0.01
_SAMPLES = 10
# float32's distance from 1 to the next number, so that no link has length 0
_NO_LENGTH = 2.0**-23


@PREDICTORS.register_module
class PartAffinityFieldPredictor(BasePredictor):
    """Several animals from heatmaps, location refinement and part affinity fields.

    As DeepLabCut's models/predictors/paf_predictor.py (Lauer et al., 2022). Only the best peaks of
    a bodypart are kept, as many as there are animals, because no others are ever linked; of equal
    peaks the first in reading order is the better one.

    Args:
        num_animals: animals looked for.
        num_multibodyparts: bodyparts, K.
        num_uniquebodyparts: of the project; not needed, since they have a head of their own.
        graph: pairs of bodyparts, one for each pair of channels of ``paf``.
        edges_to_keep: which of them link peaks.
        locref_stdev: pixels for one unit of ``locref``.
        nms_radius: width in cells of the window in which a peak is highest (odd); heatmaps are
            smoothed with a kernel of twice that and one.
        sigma: of the Gaussian they are smoothed with, in cells.
        min_affinity: weakest link.
        add_discarded: fill animals up with keypoints that are linked to none.
        apply_sigmoid: the heatmaps are logits.
        clip_scores: clip the scores to 0..1 at the end.
        force_fusion: fuse surplus animals by distance.
        return_preds: only False; peaks and affinities are what ``decode`` gives.

    Raises:
        ConfigError: an even ``nms_radius``, edges that the graph lacks or none, ``return_preds``.
    """

    kernel: Tensor
    steps: Tensor
    kept: Tensor
    ends: Tensor

    def __init__(
        self,
        num_animals: int,
        num_multibodyparts: int,
        num_uniquebodyparts: int,
        graph: Sequence[Sequence[int]],
        edges_to_keep: Sequence[int],
        locref_stdev: float = 7.2801,
        nms_radius: int = 5,
        sigma: float = 1.0,
        min_affinity: float = 0.05,
        add_discarded: bool = False,
        apply_sigmoid: bool = True,
        clip_scores: bool = False,
        force_fusion: bool = False,
        return_preds: bool = False,
    ) -> None:
        super().__init__()
        _check(graph, edges_to_keep, nms_radius, return_preds)
        self.num_animals = num_animals
        self.num_multibodyparts = num_multibodyparts
        self.num_uniquebodyparts = num_uniquebodyparts
        self.graph = [(int(first), int(second)) for first, second in graph]
        self.edges_to_keep = list(edges_to_keep)
        self.locref_stdev = locref_stdev
        self.nms_radius = nms_radius
        self.min_affinity = min_affinity
        self.add_discarded = add_discarded
        self.apply_sigmoid = apply_sigmoid
        self.clip_scores = clip_scores
        self.force_fusion = force_fusion
        ends = torch.tensor([self.graph[edge] for edge in self.edges_to_keep]).T
        for name, constant in {
            "kernel": _gaussian(nms_radius, sigma),
            # as torch rounds them: where a sample falls between two cells hangs on the last bit
            "steps": torch.linspace(0, 1, _SAMPLES),
            "kept": torch.tensor(self.edges_to_keep),
            "ends": ends.contiguous(),
        }.items():
            self.register_buffer(name, constant, persistent=False)

    @property
    def grouping(self) -> PafGrouping:
        """See :class:`PafGrouping`."""
        return PafGrouping(
            edges=tuple(self.graph[edge] for edge in self.edges_to_keep),
            individuals=self.num_animals,
            min_affinity=self.min_affinity,
            add_discarded=self.add_discarded,
            force_fusion=self.force_fusion,
            clip_scores=self.clip_scores,
        )

    def decode(self, stride: float, outputs: Outputs) -> Outputs:
        """``peaks`` [N, K, P, 3] and ``affinities`` [N, E, P, P], as :class:`PafGrouping` wants.

        Places without a peak are 0 throughout.

        Args:
            stride: see :class:`BasePredictor`.
            outputs: ``heatmap`` [N, K, h, w], ``locref`` [N, 2K, h, w], ``paf`` [N, 2E, h, w].
        """
        heights = self._peak_heights(outputs["heatmap"])
        columns = heights.shape[3]
        best, score = _highest(heights, self.num_animals)
        found = score > 0
        row = torch.div(best, columns, rounding_mode="floor")
        cell = torch.stack([best - row * columns, row], dim=3)
        locref = outputs["locref"].flatten(2).unflatten(1, (-1, 2))
        refinement = locref.gather(3, best.unsqueeze(2).expand(-1, -1, 2, -1)).movedim(2, 3)
        # half a stride rounded down, unlike the other predictors
        xy = stride * cell + stride // 2 + refinement * self.locref_stdev
        peaks = torch.where(found.unsqueeze(3), torch.cat([xy, score.unsqueeze(3)], dim=3), 0)
        return {"peaks": peaks, "affinities": self._affinities(outputs["paf"], cell, found)}

    def forward(self, stride: float, outputs: Outputs) -> Outputs:
        """``poses`` [N, individuals, K, 5]: x, y, score, -1 and how well the animal hangs together.

        An absent animal is -1 throughout, an absent keypoint of a present one NaN, NaN, 0, NaN.
        """
        decoded = self.decode(stride, outputs)
        arrays = {name: value.detach().cpu().numpy() for name, value in decoded.items()}
        grouped = group(self.grouping, arrays)
        assert grouped.affinity is not None
        poses = with_affinity(grouped.poses, grouped.affinity)
        if self.clip_scores and arrays["peaks"].any():
            poses[..., 2] = poses[..., 2].clip(0, 1)  # absent animals too, as in DeepLabCut
        return {"poses": torch.from_numpy(poses)}

    def _peak_heights(self, heatmap: Tensor) -> Tensor:
        """Smoothed height of each peak, 0 elsewhere, [N, K, h, w]."""
        if self.apply_sigmoid:
            heatmap = heatmap.sigmoid()
        channels = heatmap.shape[1]
        kernel = self.kernel.expand(channels, -1, -1, -1)
        smooth = functional.conv2d(heatmap, kernel, padding=self.nms_radius, groups=channels)
        width = self.nms_radius
        highest = functional.max_pool2d(smooth, width, stride=1, padding=width // 2)
        return torch.where((smooth == highest) & (smooth >= _MIN_HEIGHT), smooth, 0)

    def _affinities(self, paf: Tensor, cell: Tensor, found: Tensor) -> Tensor:
        """Integral of each edge's field from peak to peak, per cell of length, [N, E, P, P].

        x of the field is integrated over x and y over y (no projection on the limb), by the
        trapezoidal rule over samples at whole cells, and rounded to three decimals.

        Args:
            paf: [N, 2E, h, w].
            cell: int64 [N, K, P, 2], x and y.
            found: bool [N, K, P], where there is a peak.
        """
        columns, peaks = paf.shape[3], cell.shape[2]
        fields = paf.flatten(2).unflatten(1, (-1, 2))
        if self.edges_to_keep != list(range(len(self.graph))):
            fields = fields.index_select(1, self.kept)
        sources, targets = (cell.float().index_select(1, end) for end in self.ends)
        source = sources.unsqueeze(3)
        limb = targets.unsqueeze(2) - source
        length = limb.square().sum(4).sqrt() + _NO_LENGTH
        # [N, E, (x, y), source, target, sample]
        steps = limb.movedim(4, 2).unsqueeze(5) * self.steps
        samples = (source.movedim(4, 2).unsqueeze(5) + steps).trunc()
        place = (samples[:, :, 1] * columns + samples[:, :, 0]).long().flatten(2)
        field = fields.gather(3, place.unsqueeze(2).expand(-1, -1, 2, -1))
        field = field.unflatten(3, (peaks, peaks, _SAMPLES))
        moved = samples[..., 1:] - samples[..., :-1]
        integral = ((field[..., 1:] + field[..., :-1]) * moved).sum(5) / 2
        affinity = integral.square().sum(2).sqrt() / length
        affinity = torch.round(affinity * 1000) / 1000
        there, too = (found.index_select(1, end) for end in self.ends)
        return torch.where(there.unsqueeze(3) & too.unsqueeze(2), affinity, 0)


def _check(
    graph: Sequence[Sequence[int]], edges: Sequence[int], nms_radius: int, return_preds: bool
) -> None:
    if nms_radius < 1 or nms_radius % 2 == 0:
        raise ConfigError(
            f"PartAffinityFieldPredictor: expected an odd nms_radius, got {nms_radius}."
        )
    if not edges or not set(edges) <= set(range(len(graph))):
        raise ConfigError(
            "PartAffinityFieldPredictor: expected edges_to_keep to be places in the graph of "
            f"{len(graph)} edges, at least one, got {list(edges)}."
        )
    if return_preds:
        raise ConfigError(
            "PartAffinityFieldPredictor: expected return_preds false; peaks and affinities are "
            "what decode() gives."
        )


def _gaussian(radius: int, sigma: float) -> Tensor:
    """A kernel [1, 1, 2 radius + 1, 2 radius + 1] whose sum is 1."""
    squared = torch.arange(-radius, radius + 1, dtype=torch.float32) ** 2
    row = (-squared / (2 * sigma**2)).softmax(0)
    return torch.outer(row, row)[None, None]


def _highest(heights: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Cells int64 [N, K, count] of the greatest heights [N, K, h, w], and these heights.

    The greatest comes first, and of equal ones the first in reading order. ``topk`` alone may take
    any of equal ones, and saturated heatmaps have many; so it only says how high the last one
    taken is, and the cells are then chosen by numbers that are all different. (They are whole and
    exact in float32 for maps of up to 8 million cells.)
    """
    heights = heights.flatten(2)
    size = heights.shape[2]
    last = heights.topk(count).values[..., -1:]
    order = torch.arange(size, device=heights.device).neg().to(heights.dtype)
    taken = torch.where(heights > last, order + size, torch.where(heights == last, order, -size))
    cells = taken.topk(count).indices
    score = heights.gather(2, cells)
    # A stable sort; that of torch has no counterpart in ONNX. Equal heights are in order already.
    other, own = score.unsqueeze(2), score.unsqueeze(3)
    before = torch.ones((count, count), dtype=torch.bool, device=score.device).tril(-1)
    place = ((other > own) | ((other == own) & before)).to(score.dtype).sum(3)
    rank = place.neg().topk(count).indices
    return cells.gather(2, rank), score.gather(2, rank)


def with_affinity(poses: Values, affinity: Values) -> Values:
    """DeepLabCut's five columns for linked keypoints.

    Args:
        poses: float32 [N, I, K, 3]; an absent animal is NaN throughout, an absent keypoint of a
            present one NaN, NaN, 0.
        affinity: float32 [N, I]; of each animal.

    Returns:
        [N, I, K, 5]: x, y, score, -1 (NaN where a keypoint is absent) and the affinity; an absent
        animal is -1 throughout.
    """
    found = np.full((*poses.shape[:3], 5), np.nan, np.float32)
    found[..., :3] = poses
    found[..., 3] = np.where(np.isnan(poses[..., 0]), np.nan, -1)
    found[..., 4] = affinity[..., None]
    absent = np.isnan(poses).all(axis=(2, 3))
    found[absent] = -1
    return found

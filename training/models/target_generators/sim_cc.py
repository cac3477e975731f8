"""Rows of bins for coordinate classification."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from dlc_deploy.errors import ConfigError

from .base import TARGET_GENERATORS, BaseGenerator, Targets


@TARGET_GENERATORS.register_module
class SimCCGenerator(BaseGenerator):
    """One row of bins for x and one for y: a Gaussian or a single bin at the keypoint.

    As DeepLabCut's models/target_generators/sim_cc.py (Li et al., SimCC, 2022).

    Args:
        input_size: (width, height) of the network's input.
        smoothing_type: ``gaussian``, or ``standard`` for one bin with label smoothing.
        sigma: of the Gaussian in bins, one for both axes or (x, y).
        simcc_split_ratio: bins per pixel.
        label_smooth_weight: how much goes to the other bins (``standard`` only).
        normalize: divide by the Gaussian's integral.
        options: those of :class:`BaseGenerator`.
    """

    def __init__(
        self,
        input_size: Sequence[int],
        smoothing_type: Literal["gaussian", "standard"] = "gaussian",
        sigma: float | Sequence[float] = 6.0,
        simcc_split_ratio: float = 2.0,
        label_smooth_weight: float = 0.0,
        normalize: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if smoothing_type not in ("gaussian", "standard"):
            raise ConfigError(
                "SimCCGenerator: expected smoothing_type gaussian or standard, "
                f"got {smoothing_type!r}."
            )
        if not 0 <= label_smooth_weight <= (0 if smoothing_type == "gaussian" else 1):
            raise ConfigError(
                "SimCCGenerator: expected label_smooth_weight in 0..1, and 0 with gaussian, got "
                f"{label_smooth_weight}."
            )
        self.smoothing_type = smoothing_type
        self.split = simcc_split_ratio
        self.bins = tuple(round(side * simcc_split_ratio) for side in input_size)
        self.sigma = (sigma, sigma) if isinstance(sigma, int | float) else tuple(sigma)
        self.label_smooth_weight = label_smooth_weight
        self.normalize = normalize

    def forward(
        self, stride: float, outputs: dict[str, Tensor], labels: dict[str, Tensor]
    ) -> Targets:
        """See :class:`BaseGenerator`; rows are [N, individuals, K, bins]."""
        keypoints = labels[self.label_keypoint_key].to(outputs["x"].device, torch.float32)
        if keypoints.ndim == 3:
            keypoints = keypoints[:, None]
        visible = keypoints[..., 2] > 0
        centre = torch.where(visible[..., None], keypoints[..., :2], 0).nan_to_num()
        centre = (centre * self.split).round()
        drawn = visible & (keypoints[..., 2] >= 0.5) & self._inside(centre)
        rows = self._gaussian if self.smoothing_type == "gaussian" else self._single
        # A keypoint out of reach of every bin teaches nothing; one that is hardly visible still
        # counts, with an empty row.
        weights = (visible & (self._inside(centre) | (keypoints[..., 2] < 0.5))).float()
        return {
            name: {
                "target": torch.where(drawn[..., None], rows(centre[..., axis], axis), 0),
                "weights": weights,
            }
            for axis, name in enumerate("xy")
        }

    def _inside(self, centre: Tensor) -> Tensor:
        """Whether any bin of each row is within reach of the keypoint, [N, individuals, K]."""
        bins = torch.tensor(self.bins, device=centre.device)
        if self.smoothing_type == "standard":
            return ((centre >= 0) & (centre < bins)).all(-1)
        reach = 3 * torch.tensor(self.sigma, device=centre.device)
        return ((centre - reach < bins) & (centre + reach + 1 >= 0)).all(-1)

    def _gaussian(self, centre: Tensor, axis: int) -> Tensor:
        grid = torch.arange(self.bins[axis], device=centre.device)
        sigma = self.sigma[axis]
        row = torch.exp(-((grid - centre[..., None]) ** 2) / (2 * sigma**2))
        return row / (sigma * math.sqrt(2 * math.pi)) if self.normalize else row

    def _single(self, centre: Tensor, axis: int) -> Tensor:
        grid = torch.arange(self.bins[axis], device=centre.device)
        smooth = self.label_smooth_weight
        rest = smooth / (self.bins[axis] - 1)
        return torch.where(grid == centre[..., None], 1 - smooth, rest)

"""Heatmaps with location refinement fields.

As deeplabcut's models/target_generators/heatmap_targets.py defines them: cell (i, j) stands for the
input pixel (j * stride + stride / 2, i * stride + stride / 2).
"""

from __future__ import annotations

from abc import abstractmethod
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from .base import TARGET_GENERATORS, BaseGenerator, Targets


class HeatmapMode(Enum):
    """What a heatmap stands for."""

    KEYPOINT = "KEYPOINT"
    INDIVIDUAL = "INDIVIDUAL"


class HeatmapGenerator(BaseGenerator):
    """One heatmap for each bodypart (or for each individual), with all its animals on it.

    Args:
        num_heatmaps: channels.
        pos_dist_thresh: radius in pixels within which a cell belongs to a keypoint.
        heatmap_mode: :class:`HeatmapMode` or its name.
        gradient_masking: give heatmaps of bodyparts that are not labelled the background weight.
        background_weight: that weight.
        generate_locref: make ``locref`` targets.
        locref_std: pixels for one unit of ``locref``.
        options: those of :class:`BaseGenerator`.
    """

    Mode = HeatmapMode

    def __init__(
        self,
        num_heatmaps: int,
        pos_dist_thresh: int,
        heatmap_mode: str | HeatmapMode = HeatmapMode.KEYPOINT,
        gradient_masking: bool = False,
        background_weight: float = 0.1,
        generate_locref: bool = True,
        locref_std: float = 7.2801,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.num_heatmaps = num_heatmaps
        self.radius = float(pos_dist_thresh)
        self.heatmap_mode = (
            HeatmapMode(heatmap_mode.upper()) if isinstance(heatmap_mode, str) else heatmap_mode
        )
        self.gradient_masking = gradient_masking
        self.background_weight = background_weight
        self.generate_locref = generate_locref
        self.locref_std = locref_std

    def forward(
        self, stride: float, outputs: dict[str, Tensor], labels: dict[str, Tensor]
    ) -> Targets:
        """See :class:`BaseGenerator`; the last animal wins where two share a cell of ``locref``."""
        shape = outputs["heatmap"].shape
        groups = self._grouped(labels).to(outputs["heatmap"].device, torch.float32)
        visible = groups[..., 2] > 0
        offsets = groups[..., :2].nan_to_num()[:, :, :, None, None] - _cell_centres(
            shape[2], shape[3], stride, groups.device
        )
        distance = offsets.square().sum(-1)
        near = (distance <= self.radius**2) & visible[..., None, None]
        heatmap = torch.where(visible[..., None, None], self._heat(distance), 0).amax(2)
        targets: Targets = {
            "heatmap": {"target": heatmap, "weights": self._weights(groups, shape[2:])}
        }
        if self.generate_locref:
            targets["locref"] = self._locref(offsets, near)
        return targets

    @abstractmethod
    def _heat(self, distance: Tensor) -> Tensor:
        """Height of the map at a squared distance (pixels) from the keypoint."""

    def _grouped(self, labels: dict[str, Tensor]) -> Tensor:
        """Keypoints [N, heatmaps, members, 3]: what is drawn on each heatmap."""
        keypoints = labels[self.label_keypoint_key]
        if keypoints.ndim == 3:
            keypoints = keypoints[:, None]
        if self.heatmap_mode is HeatmapMode.KEYPOINT:
            return keypoints.transpose(1, 2)
        ordered = -torch.ones_like(keypoints)
        for image, identities in enumerate(labels["individual_ids"]):
            known = identities >= 0
            ordered[image, identities[known]] = keypoints[image, known]
        return ordered

    def _weights(self, groups: Tensor, size: torch.Size) -> Tensor:
        """Per heatmap, from the visibilities in the order of its members: the last flag that says
        something decides."""
        batch, channels, animals, _ = groups.shape
        weight = torch.ones((batch, channels), device=groups.device)
        for animal in range(animals):
            flag = groups[:, :, animal, 2]
            if self.gradient_masking:
                weight = torch.where(flag == 0, self.background_weight, weight)
            weight = torch.where(flag == -1, 0.0, weight)
        return weight[:, :, None, None].expand(batch, channels, *size).clone()

    def _locref(self, offsets: Tensor, near: Tensor) -> dict[str, Tensor]:
        """Offsets to the keypoint in units of ``locref_std``, where a keypoint is near."""
        field = torch.zeros_like(offsets[:, :, 0])
        for animal in range(offsets.shape[2]):
            field = torch.where(near[:, :, animal, ..., None], offsets[:, :, animal], field)
        mask = near.any(2)[..., None].expand_as(field)
        # [N, C, h, w, (x, y)] to channels x0, y0, x1, y1, ...
        target = (field / self.locref_std).movedim(-1, 2).flatten(1, 2)
        return {"target": target, "weights": mask.movedim(-1, 2).flatten(1, 2).to(target.dtype)}


@TARGET_GENERATORS.register_module
class HeatmapGaussianGenerator(HeatmapGenerator):
    """Gaussians with a standard deviation of 2/3 of the radius."""

    def _heat(self, distance: Tensor) -> Tensor:
        return torch.exp(-distance / (2 * (2 * self.radius / 3) ** 2))


@TARGET_GENERATORS.register_module
class HeatmapPlateauGenerator(HeatmapGenerator):
    """1 within the radius, 0 outside."""

    def _heat(self, distance: Tensor) -> Tensor:
        return (distance <= self.radius**2).to(distance.dtype)


def _cell_centres(height: int, width: int, stride: float, device: torch.device) -> Tensor:
    """Input pixels (x, y) of all cells, [h, w, 2]; whole numbers, as DeepLabCut keeps them."""
    ys = (torch.arange(height, device=device) * stride + stride / 2).floor()
    xs = (torch.arange(width, device=device) * stride + stride / 2).floor()
    return torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1)

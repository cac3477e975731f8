"""What several heads have in common: targets, losses and convolutions."""

from __future__ import annotations

from typing import Any

from .backbones import Section

LOCREF_STD = 7.2801
"""Pixels per unit of a location refinement map."""
TARGET_RADIUS = 17
"""Pixels around a keypoint in which the targets of training are set."""


def heatmap_losses(heatmap: str) -> Section:
    """The loss named for the heatmaps, and a Huber loss of their location refinement."""
    return {
        "heatmap": {"type": heatmap, "weight": 1.0},
        "locref": {"type": "WeightedHuberCriterion", "weight": 0.05},
    }


def gaussian_target(keypoints: int, **masking: Any) -> Section:
    """A Gaussian around every keypoint; ``masking`` says which pixels count."""
    return _target("HeatmapGaussianGenerator", keypoints, "KEYPOINT") | masking | locref_target()


def plateau_target(heatmaps: int, mode: str, **masking: Any) -> Section:
    """A disc around every keypoint, one map per keypoint or per individual (``mode``)."""
    return _target("HeatmapPlateauGenerator", heatmaps, mode) | masking


def locref_target() -> Section:
    """The way from a pixel to its keypoint as a further target."""
    return {"generate_locref": True, "locref_std": LOCREF_STD}


def upsampled(*channels: int) -> Section:
    """Transposed convolutions, each of which doubles the resolution."""
    layers = len(channels) - 1
    return {"channels": list(channels), "kernel_size": [3] * layers, "strides": [2] * layers}


def one_by_one(channels: int, keypoints: int) -> tuple[Section, Section]:
    """A heatmap and its location refinement, each by one convolution of one pixel."""

    def section(outputs: int) -> Section:
        convolution = {"out_channels": outputs, "kernel_size": 1}
        layers: Section = {"channels": [channels], "kernel_size": [], "strides": []}
        return layers | {"final_conv": convolution}

    return section(keypoints), section(2 * keypoints)


def _target(kind: str, heatmaps: int, mode: str) -> Section:
    section: Section = {"type": kind, "num_heatmaps": heatmaps}
    return section | {"pos_dist_thresh": TARGET_RADIUS, "heatmap_mode": mode}

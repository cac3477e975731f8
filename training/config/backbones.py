"""Backbones as configurations name them, with the channels they give to the heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Section = dict[str, Any]
CspnextSize = Literal["s", "m", "x"]

CSPNEXT_FACTORS: dict[CspnextSize, tuple[float, float]] = {
    "s": (0.33, 0.5),
    "m": (0.67, 0.75),
    "x": (1.33, 1.25),
}
"""Depth and width of the variants, relative to CSPNeXt-L."""
CSPNEXT_BASE_CHANNELS = 1024
HRNET_BRANCH_WIDTHS = (1, 2, 4, 8)
"""Channels of HRNet's four branches, relative to the first."""


@dataclass(frozen=True, slots=True)
class Backbone:
    """A backbone's section and ``backbone_output_channels``."""

    section: Section
    channels: int


def resnet(model_name: str) -> Backbone:
    """A timm ResNet with output stride 16."""
    section = {"type": "ResNet", "model_name": model_name, "output_stride": 16}
    return Backbone(section | _freezing(statistics=False), 2048)


def cspnext(size: CspnextSize) -> Backbone:
    """RTMDet's CSPNeXt."""
    deepen, widen = CSPNEXT_FACTORS[size]
    section: Section = {"type": "CSPNeXt", "model_name": f"cspnext_{size}"}
    section |= _freezing(statistics=False)
    section |= {"deepen_factor": deepen, "widen_factor": widen}
    return Backbone(section, int(CSPNEXT_BASE_CHANNELS * widen))


def hrnet(width: int, *, freeze_statistics: bool, all_branches: bool = False) -> Backbone:
    """A timm HRNet: its finest branch, or all of them, resized to the finest and concatenated."""
    section: Section = {"type": "HRNet", "model_name": f"hrnet_w{width}"}
    section |= _freezing(statistics=freeze_statistics)
    section |= {"interpolate_branches": all_branches, "increased_channel_count": False}
    return Backbone(section, width * (sum(HRNET_BRANCH_WIDTHS) if all_branches else 1))


def dlcrnet(stride: int) -> Backbone:
    """DeepLabCut's multi-scale ResNet-50 (Lauer et al. 2022)."""
    section = {"type": "DLCRNet", "model_name": "resnet50", "pretrained": True}
    return Backbone(section | {"output_stride": stride}, 2304)


def hrnet_coam(width: int, keypoints: int, image_size: tuple[int, int]) -> Backbone:
    """HRNet whose attention looks at the given poses (BUCTD, Zhou et al. 2023).

    Args:
        width: of HRNet's finest branch, which the head sees.
        keypoints: of the poses that are given.
        image_size: (width, height) of the crops.
    """
    section = {"type": "HRNetCoAM", "base_model_name": f"hrnet_w{width}", "pretrained": True}
    section |= _freezing(statistics=False)
    section |= {"coam_modules": [2], "channel_att_only": False, "att_heads": 1}
    return Backbone(section | _conditions(keypoints, image_size), width)


def with_prenet(backbone: Backbone, keypoints: int, image_size: tuple[int, int]) -> Backbone:
    """``backbone`` behind a layer that mixes the given poses into the image (BUCTD's PreNet)."""
    section = {"type": "CondPreNet", "backbone": backbone.section}
    return Backbone(section | _conditions(keypoints, image_size), backbone.channels)


def _freezing(*, statistics: bool) -> Section:
    return {"freeze_bn_stats": statistics, "freeze_bn_weights": False}


def _conditions(keypoints: int, image_size: tuple[int, int]) -> Section:
    width, height = image_size
    encoder = {"type": "StackedKeypointEncoder", "num_joints": keypoints, "kernel_size": [15, 15]}
    return {"kpt_encoder": encoder, "img_size": [height, width]}

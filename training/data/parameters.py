"""What the labels of a dataset mean, and how crops are cut from its images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dlc_deploy.errors import ConfigError

from ..task import Task

DEFAULT_BBOX_MARGIN = 25


@dataclass(frozen=True, slots=True)
class PoseDatasetParameters:
    """DeepLabCut's parameters of a dataset, under its names.

    Attributes:
        bodyparts: names of the bodyparts of an animal.
        unique_bpts: names of the unique bodyparts.
        individuals: names of the animals.
        with_center_keypoints: add the centre of each animal as a last bodypart (DEKR).
        color_mode: ``RGB`` or ``BGR``, the order of channels that the network sees.
        ctd_bbox_margin: pixels around the conditions of a conditional top-down model.
        top_down_crop_size: (width, height) that animals are cropped to.
        top_down_crop_margin: pixels added around boxes before cropping.
        top_down_crop_with_context: grow boxes to the crop's aspect instead of padding them.
    """

    bodyparts: list[str]
    unique_bpts: list[str]
    individuals: list[str]
    with_center_keypoints: bool = False
    color_mode: str = "RGB"
    ctd_bbox_margin: int | None = None
    top_down_crop_size: tuple[int, int] | None = None
    top_down_crop_margin: int | None = None
    top_down_crop_with_context: bool = True

    @property
    def num_joints(self) -> int:
        """Bodyparts of an animal."""
        return len(self.bodyparts)

    @property
    def num_unique_bpts(self) -> int:
        """Unique bodyparts."""
        return len(self.unique_bpts)

    @property
    def max_num_animals(self) -> int:
        """Most animals in an image."""
        return len(self.individuals)


def parameters_of(model_cfg: Mapping[str, Any]) -> PoseDatasetParameters:
    """The parameters that a ``pytorch_config.yaml`` implies, with DeepLabCut's defaults.

    Raises:
        ConfigError: it does not name the bodyparts and the animals.
    """
    metadata = model_cfg.get("metadata") or {}
    missing = [key for key in ("bodyparts", "individuals") if not metadata.get(key)]
    if missing:
        raise ConfigError(
            f"metadata.{missing[0]}: expected names in the model's configuration, got none. "
            "Add them as the project's config.yaml has them."
        )
    data = model_cfg.get("data") or {}
    crop = (data.get("train") or {}).get("top_down_crop") or {}
    conditional = Task(model_cfg["method"]) is Task.COND_TOP_DOWN
    return PoseDatasetParameters(
        bodyparts=list(metadata["bodyparts"]),
        unique_bpts=list(metadata.get("unique_bodyparts") or []),
        individuals=list(metadata["individuals"]),
        with_center_keypoints=bool(model_cfg.get("with_center_keypoints", False)),
        color_mode=data.get("colormode") or "RGB",
        ctd_bbox_margin=bbox_margin(model_cfg) if conditional else None,
        top_down_crop_size=(crop.get("width", 256), crop.get("height", 256)),
        top_down_crop_margin=crop.get("margin", 0),
        top_down_crop_with_context=crop.get("crop_with_context", True),
    )


def bbox_margin(model_cfg: Mapping[str, Any]) -> int:
    """Pixels around keypoints when boxes are made of them: ``data.bbox_margin`` of the pose model,
    for its detector too."""
    margin = (model_cfg.get("data") or {}).get("bbox_margin")
    return DEFAULT_BBOX_MARGIN if margin is None else int(margin)

"""Configurations of the SuperAnimal models of DeepLabCut's model zoo (Ye et al. 2024).

Only what inference needs is in them: these models are trained already.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from dlc_deploy.errors import ConfigError

from . import backbones, data, heads
from .backbones import Backbone, CspnextSize, Section
from .detectors import detector_model
from .recipes import BODYPARTS, HUMAN_CROP, Crop
from .superanimal_bodyparts import BODYPARTS_OF

BOX_SCORE_THRESHOLD = 0.6
"""Boxes below it are no animals to the zoo's detectors."""
HUMANS = "superanimal_humanbody"
"""The dataset without a detector of its own: people are found by torchvision's."""
HUMAN_DETECTORS = ("fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_resnet50_fpn_v2")


@dataclass(frozen=True, slots=True)
class PoseRecipe:
    """A pose model of the zoo.

    Attributes:
        transforms: what happens to a crop, but for its size.
        crop: (width, height) in pixels.
    """

    backbone: Backbone
    head: Section
    transforms: Section = field(default_factory=dict)
    crop: Crop = (data.CROP, data.CROP)


def superanimal_config(dataset: str, pose_model: str, detector: str, individuals: int) -> Section:
    """The configuration of a pose model and a detector, trained on a dataset of the zoo.

    Args:
        dataset: for instance ``superanimal_quadruped``.
        pose_model: one of :data:`POSE_MODELS`.
        detector: one of :func:`~dlc_deploy.training.available_detectors`; of
            :data:`HUMAN_DETECTORS` for people.
        individuals: at most, in a frame.

    Raises:
        ConfigError: names that have no configuration here.
    """
    if dataset not in BODYPARTS_OF or pose_model not in POSE_MODELS:
        raise ConfigError(
            f"Expected one of {', '.join(BODYPARTS_OF)} and one of {', '.join(POSE_MODELS)}, got "
            f"{dataset!r} and {pose_model!r}."
        )
    bodyparts = BODYPARTS_OF[dataset]
    recipe = POSE_MODELS[pose_model](len(bodyparts))
    width, height = recipe.crop
    crop = {"top_down_crop": {"width": width, "height": height}}
    return {
        "model": {
            "backbone": recipe.backbone.section,
            "heads": {BODYPARTS: recipe.head},
            "backbone_output_channels": recipe.backbone.channels,
        },
        "net_type": pose_model,
        "method": "td",
        "metadata": {
            "bodyparts": list(bodyparts),
            "individuals": [f"animal{number}" for number in range(individuals)],
        },
        "data": {"inference": {"normalize_images": True} | recipe.transforms | crop},
        "detector": _people(detector) if dataset == HUMANS else _animals(detector),
    }


def _animals(detector: str) -> Section:
    model = detector_model(detector, score_threshold=BOX_SCORE_THRESHOLD)
    return {"model": model, "data": {"inference": {"normalize_images": True}}}


def _people(variant: str) -> Section:
    """A detector of torchvision's, which normalises images itself."""
    if variant not in HUMAN_DETECTORS:
        raise ConfigError(
            f"detector_type: expected one of {', '.join(HUMAN_DETECTORS)}, got {variant!r}."
        )
    model = {"type": "CocoPersonDetector", "variant": variant}
    scaled = {"normalize_images": False, "scale_to_unit_range": True}
    return {
        "model": model | {"box_score_thresh": BOX_SCORE_THRESHOLD},
        "data": {"inference": scaled},
    }


def _hrnet(keypoints: int) -> PoseRecipe:
    """Heatmaps of HRNet's own resolution, without location refinement."""
    backbone = backbones.hrnet(32, freeze_statistics=True)
    head = heads.heatmap_head(backbone.channels, keypoints)
    head["predictor"] |= {"location_refinement": False}
    head["target_generator"] |= {"generate_locref": False}
    head["heatmap_config"] |= {"kernel_size": [1], "strides": [1]}
    del head["criterion"]["locref"], head["locref_config"]
    return PoseRecipe(backbone, head, data.padding())


def _resnet(keypoints: int) -> PoseRecipe:
    backbone = backbones.resnet("resnet50_gn")
    return PoseRecipe(backbone, heads.heatmap_head(backbone.channels, keypoints))


def _rtmpose(size: CspnextSize, crop: Crop, keypoints: int) -> PoseRecipe:
    backbone = backbones.cspnext(size)
    head = heads.simcc_head(backbone.channels, keypoints, crop)
    return PoseRecipe(backbone, head, crop=crop)


POSE_MODELS: dict[str, Callable[[int], PoseRecipe]] = {
    "hrnet_w32": _hrnet,
    "resnet_50": _resnet,
    "rtmpose_s": partial(_rtmpose, "s", (data.CROP, data.CROP)),
    "rtmpose_x": partial(_rtmpose, "x", HUMAN_CROP),
}

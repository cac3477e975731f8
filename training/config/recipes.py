"""The models DeepLabCut 3 names, each composed of a backbone, a head and how it is trained.

A new model is one entry in :data:`MODELS`; a new backbone, which may stand in a bottom-up or a
top-down model, is one entry in :data:`BACKBONES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from dlc_deploy.choices import Method
from dlc_deploy.errors import ConfigError

from . import backbones, data, heads, running
from .backbones import Backbone, CspnextSize, Section
from .graph import paf_graph

BODYPARTS = "bodypart"
"""Name of the head that finds the animals' bodyparts."""

FAST = running.steps(5e-4, {90: 1e-4, 120: 1e-5})
SLOW = running.steps(1e-4, {160: 1e-5, 190: 1e-6})
RTMPOSE_EPOCHS = 400

Crop = tuple[int, int]
"""(width, height) in pixels."""
HUMAN_CROP = (288, 384)
CROWDPOSE_SIGMAS = (0.079, 0.072, 0.062, 0.107, 0.087, 0.089, 0.025)
"""Of CrowdPose's keypoints, one per pair: six pairs of limbs, then head and neck."""


@dataclass(frozen=True, slots=True)
class Targets:
    """What a model is to find: keypoints of each animal, and at most so many animals."""

    keypoints: int
    individuals: int
    multi_animal: bool


@dataclass(frozen=True, slots=True)
class Recipe:
    """The sections that a model decides."""

    method: Method
    backbone: Backbone
    head: Section
    data: Section
    optimization: Section = field(default_factory=lambda: SLOW)
    train_settings: Section = field(default_factory=running.train_settings)
    eval_interval: int = 10
    neck: Section | None = None
    pose_model: Section | None = None
    with_center_keypoints: bool = False

    def model(self) -> Section:
        """The ``model`` section with the head of the bodyparts alone."""
        return {
            "backbone": self.backbone.section,
            "heads": {BODYPARTS: self.head},
            "backbone_output_channels": self.backbone.channels,
            "neck": self.neck,
            "pose_model": self.pose_model,
        }

    def runner(self) -> Section:
        """The ``runner`` section."""
        return running.pose_runner(self.optimization, eval_interval=self.eval_interval)


@dataclass(frozen=True, slots=True)
class BackboneRecipe:
    """A backbone that heads may be chosen for."""

    backbone: Backbone
    optimization: Section
    transforms: Section = field(default_factory=dict)

    def recipe(self, targets: Targets, top_down: bool) -> Recipe:
        """A crop's animal with a detector; else one animal, or many with part affinity fields."""
        channels, keypoints = self.backbone.channels, targets.keypoints
        if top_down:
            head = heads.crop_heatmap_head(channels, keypoints)
            transforms = data.top_down(both=self.transforms)
            return Recipe("td", self.backbone, head, transforms, self.optimization)
        if targets.multi_animal:
            head = heads.paf_head(
                [channels],
                keypoints,
                targets.individuals,
                paf_graph(keypoints),
                predictor={"apply_sigmoid": True, "clip_scores": False},
                target={"gradient_masking": False},
            )
        else:
            head = heads.heatmap_head(channels, keypoints)
        return Recipe(
            "bu", self.backbone, head, data.bottom_up(both=self.transforms), self.optimization
        )


def _padded_hrnet(width: int) -> BackboneRecipe:
    return BackboneRecipe(backbones.hrnet(width, freeze_statistics=True), SLOW, data.padding())


def _dlcrnet(stride: int, between: Sequence[int], targets: Targets) -> Recipe:
    """The strided ResNet, upsampled through ``between`` channels to a stride of 8."""
    if not targets.multi_animal:
        raise ConfigError(
            "DLCRNet finds many animals, but the project has multianimalproject: false. "
            "Take a model such as resnet_50."
        )
    backbone = backbones.dlcrnet(stride)
    graph = paf_graph(targets.keypoints)
    return Recipe(
        "bu",
        backbone,
        heads.paf_head(
            [backbone.channels, *between], targets.keypoints, targets.individuals, graph
        ),
        data.bottom_up(),
        eval_interval=25,
        pose_model={"stride": 8},
    )


def _dekr(width: int, targets: Targets) -> Recipe:
    return Recipe(
        "bu",
        backbones.hrnet(width, freeze_statistics=False, all_branches=True),
        heads.dekr_head(width, targets.keypoints, targets.individuals),
        data.bottom_up(inference=data.padding()),
        FAST,
        with_center_keypoints=True,
    )


def _rtmpose(size: CspnextSize, side: int, targets: Targets) -> Recipe:
    backbone = backbones.cspnext(size)
    predictor = {"apply_softmax": True, "normalize_outputs": False}
    return Recipe(
        "td",
        backbone,
        heads.simcc_head(backbone.channels, targets.keypoints, (side, side), predictor),
        data.top_down(train=data.jittered_boxes()),
        running.warm_up_and_cosine(1e-3, 5e-5, RTMPOSE_EPOCHS),
        _rtmpose_settings(),
    )


def _token_pose(targets: Targets) -> Recipe:
    backbone = backbones.hrnet(32, freeze_statistics=True)
    dim, heatmap = 192, (64, 64)
    neck: Section = {"type": "Transformer", "feature_size": list(heatmap), "patch_size": [4, 4]}
    neck |= {"num_keypoints": targets.keypoints, "channels": backbone.channels, "dim": dim}
    return Recipe(
        "td",
        backbone,
        heads.token_head(targets.keypoints, dim, heatmap),
        data.top_down(),
        neck=neck | {"heads": 8, "depth": 6},
    )


def _coam(width: int, crop: Crop, images: Section, targets: Targets) -> Recipe:
    return _conditional_heatmaps(
        backbones.hrnet_coam(width, targets.keypoints, crop), images, targets
    )


def _prenet_hrnet(width: int, crop: Crop, images: Section, targets: Targets) -> Recipe:
    backbone = backbones.hrnet(width, freeze_statistics=False)
    return _conditional_heatmaps(
        backbones.with_prenet(backbone, targets.keypoints, crop), images, targets
    )


def _conditional_heatmaps(backbone: Backbone, images: Section, targets: Targets) -> Recipe:
    head = heads.conditional_heatmap_head(backbone.channels, targets.keypoints)
    return Recipe("ctd", backbone, head, images)


def _prenet_rtmpose(size: CspnextSize, crop: Crop, images: Section, targets: Targets) -> Recipe:
    backbone = backbones.with_prenet(backbones.cspnext(size), targets.keypoints, crop)
    return Recipe(
        "ctd",
        backbone,
        heads.simcc_head(backbone.channels, targets.keypoints, crop),
        images,
        running.steps(1e-5, {5: 1e-3, 300: 1e-4, 360: 1e-5}),
        _rtmpose_settings(),
    )


def _rtmpose_settings() -> Section:
    return running.train_settings(batch_size=32, workers=4, epochs=RTMPOSE_EPOCHS)


def _human_crops() -> Section:
    """For CrowdPose's 14 keypoints."""
    pairs = [(left, left + 1) for left in range(0, 12, 2)]
    sigmas = [sigma for sigma in CROWDPOSE_SIGMAS for _ in range(2)]
    return data.conditional(tight=False, sigmas=sigmas, symmetries=pairs)


_CTD = ((256, 256), data.conditional(tight=True))
_CTD_X = ((384, 384), data.conditional(tight=True))
_CTD_HUMAN = (HUMAN_CROP, _human_crops())

BACKBONES: dict[str, BackboneRecipe] = {
    "resnet_50": BackboneRecipe(backbones.resnet("resnet50_gn"), FAST),
    "resnet_101": BackboneRecipe(backbones.resnet("resnet101"), FAST),
    "hrnet_w18": _padded_hrnet(18),
    "hrnet_w32": _padded_hrnet(32),
    "hrnet_w48": _padded_hrnet(48),
    "cspnext_s": BackboneRecipe(backbones.cspnext("s"), FAST),
    "cspnext_m": BackboneRecipe(backbones.cspnext("m"), FAST),
    "cspnext_x": BackboneRecipe(backbones.cspnext("x"), FAST),
}

MODELS: dict[str, Callable[[Targets], Recipe]] = {
    "animaltokenpose_base": _token_pose,
    "ctd_coam_w32": partial(_coam, 32, *_CTD),
    "ctd_coam_w48": partial(_coam, 48, *_CTD),
    "ctd_coam_w48_human": partial(_coam, 48, *_CTD_HUMAN),
    "ctd_prenet_hrnet_w32": partial(_prenet_hrnet, 32, *_CTD),
    "ctd_prenet_hrnet_w48": partial(_prenet_hrnet, 48, *_CTD),
    "ctd_prenet_rtmpose_s": partial(_prenet_rtmpose, "s", *_CTD),
    "ctd_prenet_rtmpose_m": partial(_prenet_rtmpose, "m", *_CTD),
    "ctd_prenet_rtmpose_x": partial(_prenet_rtmpose, "x", *_CTD_X),
    "ctd_prenet_rtmpose_x_human": partial(_prenet_rtmpose, "x", *_CTD_HUMAN),
    "dekr_w18": partial(_dekr, 18),
    "dekr_w32": partial(_dekr, 32),
    "dekr_w48": partial(_dekr, 48),
    "dlcrnet_stride16_ms5": partial(_dlcrnet, 16, ()),
    "dlcrnet_stride32_ms5": partial(_dlcrnet, 32, (1152,)),
    "rtmpose_s": partial(_rtmpose, "s", 256),
    "rtmpose_m": partial(_rtmpose, "m", 256),
    "rtmpose_x": partial(_rtmpose, "x", 384),
}

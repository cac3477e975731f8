"""Heads of pose models with their predictors, targets and losses.

Channels are those of the backbone; a heatmap has one channel per keypoint, a location refinement
and a part affinity field have two per keypoint and per limb (x and y).
"""

from __future__ import annotations

from collections.abc import Sequence

from .backbones import HRNET_BRANCH_WIDTHS, Section
from .head_parts import (
    LOCREF_STD,
    TARGET_RADIUS,
    gaussian_target,
    heatmap_losses,
    locref_target,
    one_by_one,
    plateau_target,
    upsampled,
)

DEKR_OFFSETS_PER_KEYPOINT = 15
SIMCC_SPLIT = 2.0
"""Bins of SimCC per pixel."""
RTMPOSE_STRIDE = 32

Edges = list[list[int]]


def heatmap_head(channels: int, keypoints: int, *, label_key: str | None = None) -> Section:
    """Heatmaps at twice the backbone's resolution, for one animal.

    Args:
        channels: of the backbone.
        keypoints: to find.
        label_key: which labels of a batch are its keypoints, where they are not the bodyparts.
    """
    target = gaussian_target(keypoints, gradient_masking=False)
    if label_key is not None:
        target["label_keypoint_key"] = label_key
    return _heatmap_section(
        target, upsampled(channels, keypoints), upsampled(channels, 2 * keypoints)
    )


def crop_heatmap_head(channels: int, keypoints: int) -> Section:
    """Heatmaps at the backbone's own resolution, for the animal of a crop."""
    target = gaussian_target(keypoints, gradient_masking=True, background_weight=0.0)
    return _heatmap_section(target, *one_by_one(channels, keypoints))


def conditional_heatmap_head(channels: int, keypoints: int) -> Section:
    """The same for a conditional model, whose targets are not masked."""
    return _heatmap_section(gaussian_target(keypoints), *one_by_one(channels, keypoints))


def identity_head(channels: int, individuals: int) -> Section:
    """One heatmap per individual, read where a bodypart was found."""
    target = plateau_target(individuals, "INDIVIDUAL", gradient_masking=False)
    return {
        "type": "HeatmapHead",
        "predictor": {"type": "IdentityPredictor", "apply_sigmoid": True},
        "target_generator": target | {"generate_locref": False},
        "criterion": {"heatmap": {"type": "WeightedBCECriterion", "weight": 1.0}},
        "heatmap_config": upsampled(channels, individuals),
    }


def paf_head(
    channels: Sequence[int],
    keypoints: int,
    individuals: int,
    graph: Edges,
    *,
    predictor: Section | None = None,
    target: Section | None = None,
) -> Section:
    """Heatmaps and part affinity fields of many animals (Lauer et al. 2022).

    Args:
        channels: of the backbone, and between the transposed convolutions.
        keypoints: of an animal.
        individuals: at most, in a frame.
        graph: limbs as pairs of keypoints.
        predictor: further settings of the predictor.
        target: further settings of the heatmap targets.
    """
    heatmap = plateau_target(keypoints, "KEYPOINT") | (target or {}) | locref_target()
    return {
        "type": "DLCRNetHead",
        "predictor": _paf_predictor(keypoints, individuals, graph) | (predictor or {}),
        "target_generator": {
            "type": "SequentialGenerator",
            "generators": [
                heatmap,
                {"type": "PartAffinityFieldGenerator", "graph": graph, "width": 20},
            ],
        },
        "criterion": {
            **heatmap_losses("WeightedBCECriterion"),
            "paf": {"type": "WeightedHuberCriterion", "weight": 0.1},
        },
        "heatmap_config": upsampled(*channels, keypoints),
        "locref_config": upsampled(*channels, 2 * keypoints),
        "paf_config": upsampled(*channels, 2 * len(graph)),
        "num_stages": 5,
    }


def dekr_head(width: int, keypoints: int, individuals: int) -> Section:
    """A heatmap of centres and, for every keypoint, offsets to it (DEKR, Geng et al. 2021).

    Args:
        width: of HRNet's finest branch; all branches feed the head.
        keypoints: of an animal.
        individuals: at most, in a frame.
    """
    channels = width * sum(HRNET_BRANCH_WIDTHS)
    offsets = DEKR_OFFSETS_PER_KEYPOINT
    convolutions = {"dilation_rate": 1, "final_conv_kernel": 1}
    return {
        "type": "DEKRHead",
        "weight_init": "dekr",
        "predictor": {
            "type": "DEKRPredictor",
            "num_animals": individuals,
            "keypoint_score_type": "combined",
            "max_absorb_distance": 75,
            "nms_threshold": 0.05,
            "apply_pose_nms": True,
            "apply_sigmoid": False,
            "use_heatmap": False,
            "clip_scores": True,
        },
        "target_generator": {
            "type": "DEKRGenerator",
            "num_joints": keypoints,
            "pos_dist_thresh": TARGET_RADIUS,
            "bg_weight": 0.1,
        },
        "criterion": {
            "heatmap": {"type": "DEKRHeatmapLoss", "weight": 1},
            "offset": {"type": "DEKROffsetLoss", "weight": 0.03},
        },
        "heatmap_config": {"channels": [channels, width, keypoints + 1], "num_blocks": 1}
        | convolutions,
        "offset_config": {"channels": [channels, offsets * keypoints, keypoints]}
        | {"num_offset_per_kpt": offsets, "num_blocks": 2}
        | convolutions,
    }


def simcc_head(
    channels: int, keypoints: int, crop: tuple[int, int], predictor: Section | None = None
) -> Section:
    """Two classifications per keypoint, of its x and its y (RTMPose, Jiang et al. 2023).

    Args:
        channels: of the backbone.
        keypoints: to find.
        crop: (width, height) in pixels.
        predictor: further settings of the predictor.
    """
    spread = [round((side / 8) ** 0.5, 2) for side in crop]
    loss = {"type": "KLDiscreteLoss", "use_target_weight": True, "beta": 10.0}
    loss |= {"label_softmax": True}
    return {
        "type": "RTMCCHead",
        "weight_init": "RTMPose",
        "predictor": _simcc_predictor(spread) | (predictor or {}),
        "target_generator": _simcc_target(crop, spread),
        "criterion": {axis: dict(loss) for axis in ("x", "y")},
        "input_size": list(crop),
        "in_channels": channels,
        "out_channels": keypoints,
        "in_featuremap_size": [side // RTMPOSE_STRIDE for side in crop],
        "simcc_split_ratio": SIMCC_SPLIT,
        "final_layer_kernel_size": 7,
        "gau_cfg": {
            "hidden_dims": 256,
            "s": 128,
            "expansion_factor": 2,
            "dropout_rate": 0,
            "drop_path": 0.0,
            "act_fn": "SiLU",
            "use_rel_bias": False,
            "pos_enc": False,
        },
    }


def token_head(keypoints: int, dim: int, heatmap_size: tuple[int, int]) -> Section:
    """One heatmap from each keypoint's token (TokenPose, Li et al. 2021).

    Args:
        keypoints: to find.
        dim: of a token.
        heatmap_size: (width, height).
    """
    width, height = heatmap_size
    target = plateau_target(keypoints, "KEYPOINT") | {"generate_locref": False}
    return {
        "type": "TransformerHead",
        "predictor": {"type": "HeatmapPredictor", "location_refinement": False},
        "target_generator": target,
        "criterion": {"type": "WeightedBCECriterion"},
        "dim": dim,
        "hidden_heatmap_dim": 2 * dim,
        "heatmap_dim": width * height,
        "apply_multi": True,
        "heatmap_size": [width, height],
        "apply_init": True,
        "head_stride": 1,
    }


def _heatmap_section(target: Section, heatmap: Section, locref: Section) -> Section:
    return {
        "type": "HeatmapHead",
        "weight_init": "normal",
        "predictor": {
            "type": "HeatmapPredictor",
            "apply_sigmoid": False,
            "clip_scores": True,
            "location_refinement": True,
            "locref_std": LOCREF_STD,
        },
        "target_generator": target,
        "criterion": heatmap_losses("WeightedMSECriterion"),
        "heatmap_config": heatmap,
        "locref_config": locref,
    }


def _paf_predictor(keypoints: int, individuals: int, graph: Edges) -> Section:
    return {
        "type": "PartAffinityFieldPredictor",
        "num_animals": individuals,
        "num_multibodyparts": keypoints,
        "num_uniquebodyparts": 0,
        "nms_radius": 5,
        "sigma": 1.0,
        "locref_stdev": LOCREF_STD,
        "min_affinity": 0.05,
        "graph": graph,
        "edges_to_keep": list(range(len(graph))),
    }


def _simcc_predictor(spread: list[float]) -> Section:
    section = {"type": "SimCCPredictor", "simcc_split_ratio": SIMCC_SPLIT}
    return section | {"sigma": list(spread), "decode_beta": 150.0}


def _simcc_target(crop: tuple[int, int], spread: list[float]) -> Section:
    return {
        "type": "SimCCGenerator",
        "input_size": list(crop),
        "smoothing_type": "gaussian",
        "sigma": list(spread),
        "simcc_split_ratio": SIMCC_SPLIT,
        "label_smooth_weight": 0.0,
        "normalize": False,
    }

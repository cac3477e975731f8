"""The ``data`` sections: what happens to images in training and in inference.

A configuration names every transform; those of :data:`OFF` that a model does not use stay off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .backbones import Section

CROP = 256
"""Pixels. DeepLabCut crops to this size for every model, also where a head names another one."""
HRNET_DIVISOR = 32

OFF: Section = {
    "resize": None,
    "longest_max_size": None,
    "hflip": None,
    "affine": None,
    "random_bbox_transform": None,
    "crop_sampling": None,
    "hist_eq": False,
    "motion_blur": False,
    "covering": None,
    "elastic_transform": None,
    "grayscale": None,
    "gaussian_noise": None,
    "auto_padding": None,
    "normalize_images": True,
    "scale_to_unit_range": False,
    "top_down_crop": None,
    "collate": None,
}
NOISE: Section = {"motion_blur": True, "gaussian_noise": 12.75}


def padding() -> Section:
    """HRNet's branches only fit together where both sides are multiples of 32 pixels."""
    return {
        "auto_padding": {"pad_width_divisor": HRNET_DIVISOR, "pad_height_divisor": HRNET_DIVISOR}
    }


def bottom_up(*, both: Section | None = None, inference: Section | None = None) -> Section:
    """Whole frames in inference, pieces of them in training.

    Args:
        both: transforms of training and inference alike.
        inference: transforms of inference alone.
    """
    pieces = {"width": 448, "height": 448, "max_shift": 0.1, "method": "hybrid"}
    shared = both or {}
    return _pose_data(
        inference=shared | (inference or {}),
        train=shared | NOISE | {"affine": _affine((0.5, 1.25)), "crop_sampling": pieces},
    )


def top_down(
    *, both: Section | None = None, train: Section | None = None, tight: bool | None = None
) -> Section:
    """Crops around animals.

    Args:
        both: transforms of training and inference alike.
        train: transforms of training alone.
        tight: whether a crop is cut at its box and padded; None leaves it to the default, which
            takes in what surrounds the box.
    """
    crop: Section = {"width": CROP, "height": CROP}
    if tight is not None:
        crop["crop_with_context"] = not tight
    shared = (both or {}) | {"top_down_crop": crop}
    return _pose_data(
        inference=shared, train=shared | NOISE | {"affine": _affine((1.0, 1.0))} | (train or {})
    )


def conditional(
    *,
    tight: bool,
    sigmas: float | Sequence[float] = 0.1,
    symmetries: Sequence[tuple[int, int]] | None = None,
) -> Section:
    """Crops around given poses, and the errors that training puts into such poses.

    Args:
        tight: as for :func:`top_down`.
        sigmas: of all keypoints, or of each, relative to an animal's size.
        symmetries: pairs of keypoints that are easily taken for each other.
    """
    sampling = {
        "keypoint_sigmas": sigmas if isinstance(sigmas, float) else list(sigmas),
        "keypoints_symmetry": None if symmetries is None else [list(pair) for pair in symmetries],
        "jitter_prob": 0.16,
        "swap_prob": 0.08,
        "inv_prob": 0.03,
        "miss_prob": 0.1,
    }
    return top_down(tight=tight) | {"gen_sampling": sampling}


def jittered_boxes() -> Section:
    """Boxes of training moved and resized at random (RTMPose)."""
    section = {"shift_factor": 0.16, "shift_prob": 0.3, "scale_factor": [0.75, 1.25]}
    return {"random_bbox_transform": section | {"scale_prob": 1.0, "p": 1.0}}


def detector() -> Section:
    """Whole frames for an object detector, resized together in training."""
    collate = {"type": "ResizeFromDataSizeCollate", "min_scale": 0.4, "max_scale": 1.0}
    collate |= {"min_short_side": 128, "max_short_side": 1152, "multiple_of": 32}
    train = {
        "hflip": True,
        "affine": _affine((1.0, 1.0), translation=40),
        "collate": collate | {"to_square": False},
    }
    return {"colormode": "RGB", "inference": _transforms({}), "train": _transforms(train)}


def _pose_data(*, inference: Section, train: Section) -> Section:
    return {
        "bbox_margin": 20,
        "colormode": "RGB",
        "gen_sampling": None,
        "inference": _transforms(inference),
        "train": _transforms(train),
        "loader": None,
    }


def _affine(scaling: tuple[float, float], translation: int = 0) -> Section:
    section: dict[str, Any] = {"p": 0.5, "rotation": 30, "scaling": list(scaling)}
    return section | {"translation": translation}


def _transforms(switched_on: Section) -> Section:
    return OFF | switched_on

"""A transform section of a model's configuration to the transform it describes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchvision.transforms import v2

from .covering import Covering
from .crop_sampling import CropSampling
from .elastic import Elastic
from .geometry import Affine, HorizontalFlip, LongestMaxSize, Pad, Resize
from .normalization import Normalize, UnitRange
from .pixels import Equalize, GaussianNoise, Grayscale, MotionBlur
from .random_boxes import RandomBoxes
from .settings import (
    AffineSettings,
    CropSamplingSettings,
    FlipSettings,
    PaddingSettings,
    TransformSettings,
)


def build_transforms(augmentations: Mapping[str, Any]) -> v2.Compose:
    """The transforms of ``data.train`` or ``data.inference``, in DeepLabCut's order.

    The order is resize, longest_max_size, hflip, affine, random_bbox_transform, crop_sampling,
    hist_eq, motion_blur, covering, elastic_transform, grayscale, gaussian_noise, auto_padding and
    normalisation, whatever that of the keys. What a key means is told by the class it becomes.
    ``top_down_crop`` and ``collate`` are not transforms and change nothing here.

    The result takes and gives a :class:`~dlc_deploy.training.data.samples.Drawn` of uint8 pixels;
    transforms of torchvision can be put before the last, normalising one. Keypoints that end up
    outside of the image keep their coordinates and visibility: the dataset hides them.

    Args:
        augmentations: the section; an absent key is off.

    Raises:
        ConfigError: an unknown key, or a value that a key cannot have.
    """
    settings = TransformSettings.of(augmentations)
    return v2.Compose(
        [*_frame(settings), *_geometry(settings), *_pixels(settings), *_end(settings)]
        or [v2.Identity()]
    )


def _frame(settings: TransformSettings) -> list[v2.Transform]:
    steps: list[v2.Transform] = []
    if settings.resize is not None:
        steps.append(Resize(settings.resize))
    if settings.longest_max_size is not None:
        steps.append(LongestMaxSize(settings.longest_max_size))
    return steps


def _geometry(settings: TransformSettings) -> list[v2.Transform]:
    steps: list[v2.Transform] = []
    if settings.hflip is not None:
        steps.append(_flip(settings.hflip))
    if settings.affine is not None:
        steps.append(_affine(settings.affine))
    if settings.random_bbox_transform is not None:
        boxes = settings.random_bbox_transform
        low, high = boxes.scale_factor
        steps.append(
            RandomBoxes(
                boxes.shift_factor, boxes.shift_prob, (low, high), boxes.scale_prob, boxes.p
            )
        )
    if settings.crop_sampling is not None:
        steps += _crop(settings.crop_sampling)
    return steps


def _pixels(settings: TransformSettings) -> list[v2.Transform]:
    switched = [
        (settings.hist_eq, Equalize),
        (settings.motion_blur, MotionBlur),
        (settings.covering, Covering),
        (settings.elastic_transform, Elastic),
        (settings.grayscale, Grayscale),
    ]
    steps: list[v2.Transform] = [kind() for on, kind in switched if on]
    if settings.gaussian_noise:
        steps.append(GaussianNoise(settings.gaussian_noise))
    return steps


def _end(settings: TransformSettings) -> list[v2.Transform]:
    steps: list[v2.Transform] = []
    if settings.auto_padding is not None:
        steps.append(_padding(settings.auto_padding))
    if settings.normalize_images:
        steps.append(Normalize())
    if settings.scale_to_unit_range:
        steps.append(UnitRange())
    return steps


def _flip(settings: FlipSettings) -> HorizontalFlip:
    return HorizontalFlip(settings.p, [(a, b) for a, b in settings.symmetries or []])


def _affine(settings: AffineSettings) -> Affine:
    scaling, rotation, translation = settings.scaling, settings.rotation, settings.translation
    if scaling is None and rotation is None and translation is None:
        # What albumentations' Affine does when it is told nothing.
        return Affine(settings.p, (0.9, 1.1), 15, shift=0.1, shear=10)
    if scaling is None:
        scaling = 1.0
    ends = scaling if isinstance(scaling, list) else [scaling]
    return Affine(settings.p, (min(ends), max(ends)), rotation or 0, translation or 0)


def _crop(settings: CropSamplingSettings) -> list[v2.Transform]:
    height, width = settings.height, settings.width
    return [
        Pad(minimum=(height, width)),
        CropSampling(width, height, settings.max_shift, settings.method),
    ]


def _padding(settings: PaddingSettings) -> Pad:
    return Pad(
        minimum=(settings.min_height, settings.min_width),
        divisor=(settings.pad_height_divisor, settings.pad_width_divisor),
        position=settings.position,
        mirrored=settings.border_mode == "reflect_101",
        value=0 if settings.border_value is None else settings.border_value,
    )

"""Sections of a configuration: their order, their defaults, what is off, and what is refused."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("torchvision")

from dlc_deploy.errors import ConfigError
from dlc_deploy.training.data.transforms import build_transforms

pytestmark = pytest.mark.torch


def names(section):
    return [type(step).__name__ for step in build_transforms(section).transforms]


def only(section):
    (step,) = build_transforms(section).transforms
    return step


def test_the_order_is_deeplabcuts_whatever_that_of_the_keys():
    section = {
        "normalize_images": True,
        "auto_padding": {"pad_width_divisor": 32},
        "gaussian_noise": 12.75,
        "grayscale": True,
        "elastic_transform": True,
        "covering": True,
        "motion_blur": True,
        "hist_eq": True,
        "crop_sampling": {"width": 448, "height": 448, "max_shift": 0.1, "method": "hybrid"},
        "random_bbox_transform": {"p": 1.0},
        "affine": {"p": 0.5, "rotation": 30},
        "hflip": True,
        "longest_max_size": 640,
        "resize": {"height": 480, "width": 640},
    }
    assert (
        names(section)
        == (
            "Resize LongestMaxSize HorizontalFlip Affine RandomBoxes Pad CropSampling Equalize "
            "MotionBlur Covering Elastic Grayscale GaussianNoise Pad Normalize"
        ).split()
    )


@pytest.mark.parametrize(
    "section",
    [
        {},
        {"resize": False, "hflip": False, "gaussian_noise": False, "covering": None},
        {"longest_max_size": None, "affine": None, "crop_sampling": None, "auto_padding": {}},
        {"gaussian_noise": 0, "random_bbox_transform": {}, "normalize_images": False},
        {"top_down_crop": {"width": 256, "height": 256}, "collate": {"type": "X"}},
    ],
)
def test_what_is_off_leaves_nothing(section):
    assert names(section) == ["Identity"]


@pytest.mark.parametrize(
    ("value", "p", "symmetries"),
    [
        (True, 0.5, ()),
        (0.25, 0.25, ()),
        ({"p": 1}, 1.0, ()),
        ({"symmetries": [[1, 2], (3, 4)]}, 0.5, ((1, 2), (3, 4))),
    ],
)
def test_forms_of_hflip(value, p, symmetries):
    flip = only({"hflip": value})
    assert (flip.p, flip.symmetries) == (p, symmetries)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"scaling": [0.5, 1.25], "rotation": 30}, (0.9, (0.5, 1.25), 30, 0, 0, 0)),
        ({"p": 0.5, "scaling": [1.25, 0.5], "translation": 40}, (0.5, (0.5, 1.25), 0, 40, 0, 0)),
        ({"scaling": 0.8}, (0.9, (0.8, 0.8), 0, 0, 0, 0)),
        ({"rotation": 10}, (0.9, (1.0, 1.0), 10, 0, 0, 0)),
        ({"p": 0.1}, (0.1, (0.9, 1.1), 15, 0, 0.1, 10)),
        ({}, (0.9, (0.9, 1.1), 15, 0, 0.1, 10)),
    ],
)
def test_defaults_of_affine(settings, expected):
    step = only({"affine": settings})
    drawn = (step.p, step.scaling, step.rotation, step.translation, step.shift, step.shear)
    assert drawn == expected


def test_defaults_of_the_rest():
    boxes = only({"random_bbox_transform": {"p": 0.5}})
    assert (boxes.shift_factor, boxes.shift_prob, boxes.scale_prob) == (0.1, 0.25, 1.0)
    assert (boxes.scale_factor, boxes.p) == ((0.75, 1.25), 0.5)
    assert only({"gaussian_noise": 12.75}).std == 12.75
    assert only({"gaussian_noise": True}).std == 1
    padding = only({"auto_padding": {"pad_height_divisor": 32}})
    assert (padding.divisor, padding.position) == ((32, 1), "random")
    _, crop = build_transforms({"crop_sampling": {"width": 40, "height": 30}}).transforms
    assert (crop.size, crop.max_shift, crop.method) == ((30, 40), 0.4, "hybrid")


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ({"affin": {}}, "affin: unknown key"),
        ({"affine": {"rotate": 30}}, "affine.rotate: unknown key"),
        ({"affine": {"rotation": "far"}}, "affine.rotation.*'far'"),
        ({"affine": {"translation": 1.5}}, "affine.translation"),
        ({"affine": {"p": 1.5}}, "affine.p.*1.5"),
        ({"affine": True}, "affine.*True"),
        ({"affine": {"scaling": [0.5, 1, 2]}}, "affine.scaling"),
        ({"resize": {"height": 100}}, "resize.width"),
        ({"resize": {"height": 100, "width": 0}}, "resize.width"),
        ({"longest_max_size": 0}, "longest_max_size"),
        ({"longest_max_size": True}, "longest_max_size.*True"),
        ({"hflip": 1}, "hflip.*got 1"),
        ({"hflip": 2.0}, "hflip.p.*2.0"),
        ({"hflip": {"symmetries": [[0, 1, 2]]}}, "hflip.symmetries"),
        ({"hflip": {"symmetries": [[0, 1], [1, 2]]}}, "hflip.symmetries.*one pair"),
        ({"crop_sampling": {"width": 10}}, "crop_sampling.height"),
        ({"crop_sampling": {"width": 10, "height": 10, "method": "best"}}, "crop_sampling.method"),
        ({"random_bbox_transform": {"scale_factor": 2}}, "random_bbox_transform.scale_factor"),
        ({"covering": {"max_holes": 3}}, "covering"),
        ({"hist_eq": "yes"}, "hist_eq.*'yes'"),
        ({"gaussian_noise": -3.0}, "gaussian_noise"),
        ({"gaussian_noise": {"std": 3}}, "gaussian_noise"),
        ({"auto_padding": {"position": "left"}}, "auto_padding.position"),
        ({"auto_padding": {"border_mode": "wrap"}}, "auto_padding.border_mode"),
        ({"auto_padding": {"min_height": 64}}, "min_height and pad_height_divisor"),
        ({"auto_padding": {"pad_width_divisor": None}}, "min_width and pad_width_divisor"),
        ({"normalize_images": True, "scale_to_unit_range": True}, "one of normalize_images"),
        ([], "mapping.*list"),
        (None, "mapping.*NoneType"),
    ],
)
def test_what_is_wrong_is_named(section, named):
    with pytest.raises(ConfigError, match=named):
        build_transforms(section)

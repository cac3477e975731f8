"""Network inputs and crops against DeepLabCut's own, pixel for pixel."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dlc_deploy.config import Transforms
from dlc_deploy.preprocessing import CropPreprocessing
from dlc_deploy.runtime.pipelines.crops import plan_crops
from dlc_deploy.runtime.pipelines.frames import plan_frames
from tests.reference import REFERENCE, needs_reference

pytestmark = needs_reference
FOLDER = REFERENCE / "preprocess"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Cases in which DeepLabCut draws the padding's position at random are compared in size only.
RANDOM_POSITION = {"pad32_random", "resize_then_pad"}
# The runtime refuses this border: see test_config.
REFUSED = {"pad32_center_constant"}


def test_every_crop_is_deeplabcuts():
    frame = np.load(FOLDER / "frame.npz")["frame"]
    pixels = np.load(FOLDER / "topdown_crop.npz")
    cases = [c for c in json.loads((FOLDER / "topdown_crop.json").read_text()) if "error" not in c]
    compared_pixels = 0
    for case in cases:
        width, height = case["output_size"]
        spec = CropPreprocessing(
            width=width,
            height=height,
            margin=case["margin"],
            with_context=case["crop_with_context"],
            center_padding=case["center_padding"],
        )
        plan = plan_crops(np.array([case["bbox"]], float), spec, *frame.shape[:2])
        crop = np.empty((height, width, 3), np.uint8)
        plan.cut(frame, 0, crop)
        assert plan.valid[0]
        assert plan.offset[0].tolist() == case["offset"]
        assert plan.scale(spec)[0].tolist() == case["scale"]
        assert crop.sum() == case["sum"]
        if f"crop_{case['i']}" in pixels:
            compared_pixels += 1
            np.testing.assert_array_equal(crop, pixels[f"crop_{case['i']}"])
    assert len(cases) > 100 and compared_pixels > 25


def test_boxes_without_extent_are_no_crops():
    spec = CropPreprocessing(width=256, height=256)
    boxes = np.array([[50, 50, 0, 0], [np.nan] * 4, [50, 50, 0, 10]], np.float32)
    assert plan_crops(boxes, spec, 240, 320).valid.tolist() == [False, False, True]


@pytest.mark.parametrize("with_context", [True, False])
def test_a_box_outside_the_frame_shows_nothing(with_context):
    spec = CropPreprocessing(width=64, height=64, with_context=with_context)
    frame = np.full((240, 320, 3), 255, np.uint8)
    crop = np.ones((64, 64, 3), np.uint8)
    plan = plan_crops(np.array([[-200, -200, 50, 50]], np.float32), spec, 240, 320)
    plan.cut(frame, 0, crop)
    assert not crop.any()


def cases():
    path = FOLDER / "transforms.json"
    return sorted(set(json.loads(path.read_text())) - REFUSED) if path.is_file() else []


@pytest.mark.parametrize("name", cases())
def test_whole_frames_are_prepared_as_deeplabcut_does(name):
    arrays = np.load(FOLDER / "transforms.npz")
    case = json.loads((FOLDER / "transforms.json").read_text())[name]
    transforms = Transforms(**{"normalize_images": False, **case["config"]})
    image = arrays["image"]
    plan = plan_frames(transforms.frame(), *image.shape[:2])
    prepared = plan.apply(image[None])
    assert list(prepared.transpose(0, 3, 1, 2).shape) == case["shape"]
    assert list(plan.placement.scale) == pytest.approx(case["scales"], rel=1e-12)
    if name in RANDOM_POSITION:
        assert plan.placement.offset == (0, 0)
        return
    assert list(plan.placement.offset) == pytest.approx(case["offsets"])
    # float32 rounding of the normalisation, whose numbers reach 2.7
    np.testing.assert_allclose(_normalized(prepared, transforms), arrays[name], atol=1e-6)


def _normalized(images, transforms):
    x = images.astype(np.float32).transpose(0, 3, 1, 2)
    kind = transforms.normalization().kind
    if kind == "unit":
        return x / np.float32(255)
    if kind == "none":
        return x
    mean, std = (255 * np.array(v, np.float32).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    return (x - mean) / std

"""Whole frames, transformed for training as DeepLabCut 3.0.2 transformed them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.reference import REFERENCE, needs_reference

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from torchvision import tv_tensors  # noqa: E402

from dlc_deploy.training.data.samples import Drawn  # noqa: E402
from dlc_deploy.training.data.transforms import Pad, build_transforms  # noqa: E402

pytestmark = [pytest.mark.torch, needs_reference]

FOLDER = REFERENCE / "preprocess"


def cases():
    path = FOLDER / "transforms.json"
    return json.loads(path.read_text()) if path.is_file() else {}


@pytest.mark.parametrize("name", sorted(cases()))
def test_pixels_and_boxes_are_deeplabcuts(name):
    case, arrays = cases()[name], np.load(FOLDER / "transforms.npz")
    height, width = arrays["image"].shape[:2]
    offset, scale = np.array(case["offsets"]), np.array(case["scales"])
    transform = build_transforms(case["config"])
    _place(transform, (-offset / scale)[::-1])
    drawn = transform(_whole(arrays["image"]))
    assert np.array_equal(drawn["image"].numpy(), arrays[name][0])
    # DeepLabCut tells offsets and scales by what becomes of a box around the image
    box = drawn["boxes"][0].numpy()
    np.testing.assert_allclose(box[2:], [width, height] / scale, rtol=1e-6)
    np.testing.assert_allclose(box[:2], -offset / scale, atol=1e-5)


def _place(transform, before):
    """Have a padding of random position stay where the reference's happened to be drawn."""
    places = dict(zip(("top", "left"), (round(pixels) for pixels in before), strict=True))
    for step in transform.transforms:
        if isinstance(step, Pad) and step.position == "random":
            step._before = lambda missing, side: places[side]


def _whole(image) -> Drawn:
    height, width = size = image.shape[:2]
    nobody = torch.zeros(1, 0, 2)
    return Drawn(
        image=tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1)),
        keypoints=tv_tensors.KeyPoints(nobody, canvas_size=size),
        visibility=nobody[..., 0],
        unique=tv_tensors.KeyPoints(nobody[0], canvas_size=size),
        unique_visibility=nobody[0, :, 0],
        boxes=tv_tensors.BoundingBoxes([[0.0, 0, width, height]], format="XYWH", canvas_size=size),
    )

"""The labels of the example project against what DeepLabCut's own loader makes of them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from dlc_deploy.training.data.dlcloader import DLCLoader
from tests.reference import REFERENCE, needs_reference

pytestmark = [needs_reference, pytest.mark.torch]

# Measured with DeepLabCut 3.0.2's DLCLoader: the first images in order, and over all annotations
# the sums of x, y and visibility and of left, top, width and height of the boxes.
TRUTH = {
    (1, "train"): (
        110,
        [10, 74, 66, 51, 7, 78],
        [35739.06, 118202.722, 880],
        [3684.212, 24092.264, 14650.039, 10849.051],
    ),
    (1, "test"): (
        6,
        [103, 112, 67, 64, 47, 44],
        [1928.71, 5535.565, 48],
        [209.479, 1062.643, 723.202, 692.969],
    ),
    (2, "train"): (
        110,
        [95, 87, 49, 66, 9, 47],
        [35437.763, 118366.182, 880],
        [3610.921, 24121.986, 14651.592, 10865.958],
    ),
    (2, "test"): (
        6,
        [58, 43, 10, 0, 73, 21],
        [2230.007, 5372.105, 48],
        [282.77, 1032.921, 721.649, 676.062],
    ),
}


@pytest.mark.parametrize(("shuffle", "mode"), TRUTH)
def test_openfield_is_read_as_by_deeplabcut(shuffle, mode):
    loader = DLCLoader(REFERENCE / "openfield" / "config.yaml", shuffle=shuffle)
    count, first, keypoints, boxes = TRUTH[shuffle, mode]
    images = loader.labels(mode)
    assert len(images) == count
    assert [image.path.name for image in images[:6]] == [f"img{row:04}.png" for row in first]
    assert {(image.height, image.width) for image in images} == {(480, 640)}
    # The order of a sum of a hundred numbers changes its last digits.
    close = {"rtol": 0, "atol": 1e-6}
    assert np.allclose(
        sum(image.keypoints.sum(axis=(0, 1)) for image in images), keypoints, **close
    )
    assert np.allclose(sum(image.boxes.sum(axis=0) for image in images), boxes, **close)
    truth = loader.ground_truth_keypoints(mode)
    assert np.isclose(sum(poses.sum() for poses in truth.values()), sum(keypoints), **close)


def test_models_of_openfield_are_found():
    loader = DLCLoader(REFERENCE / "openfield" / "config.yaml", shuffle=2)
    assert [one.uid() for one in loader.snapshots()] == ["132"]
    assert [one.uid() for one in loader.snapshots(detector=True)] == ["best-30"]
    parameters = loader.get_dataset_parameters()
    assert parameters.bodyparts == ["snout", "leftear", "rightear", "tailbase"]
    assert parameters.individuals == ["individual_1"]
    assert parameters.top_down_crop_size == (256, 256)

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from dlc_deploy import Boxes, Poses


def poses(frames=4, boxes=True, unique=True):
    rng = np.random.default_rng(frames)

    def random(*shape):
        return rng.random((frames, *shape), np.float32)

    return Poses(
        random(2, 3, 2),
        random(2, 3),
        Boxes(random(5, 4), random(5)) if boxes else None,
        Poses(random(1, 2, 2), random(1, 2)) if unique else None,
    )


def arrays(value):
    found = [value.xy, value.score]
    found += [] if value.boxes is None else [value.boxes.xywh, value.boxes.score]
    return found + ([] if value.unique is None else arrays(value.unique))


def assert_equal(one, other):
    for a, b in zip(arrays(one), arrays(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("boxes", [True, False])
@pytest.mark.parametrize("unique", [True, False])
def test_slices_joined_again_are_the_whole(boxes, unique):
    whole = poses(5, boxes, unique)
    joined = Poses.concatenate([whole[:2], whole[2:3], whole[3:]])
    assert_equal(joined, whole)
    assert len(joined) == 5
    assert (joined.boxes is None, joined.unique is None) == (not boxes, not unique)


def test_a_slice_cuts_boxes_and_unique_bodyparts_too():
    part = poses(5)[1:3]
    assert len(part) == 2
    assert all(len(array) == 2 for array in arrays(part))
    np.testing.assert_array_equal(part.boxes.score, poses(5).boxes.score[1:3])


def test_absent_poses_are_nan_in_the_shape_of_others():
    absent = Poses.absent(7, poses(4))
    for array, like in zip(arrays(absent), arrays(poses(4)), strict=True):
        assert array.shape == (7, *like.shape[1:]) and array.dtype == np.float32
        assert np.isnan(array).all()


def test_shapes_that_do_not_fit_are_refused_with_what_came():
    with pytest.raises(ValueError, match=r"xy \[N, I, K, 2\].*got \(1, 2, 3, 3\) and \(1, 2, 3\)"):
        Poses(np.zeros((1, 2, 3, 3), "f4"), np.zeros((1, 2, 3), "f4"))
    with pytest.raises(ValueError, match=r"got \(2, 3, 2\) and \(2, 3\)"):
        Poses(np.zeros((2, 3, 2), "f4"), np.zeros((2, 3), "f4"))
    with pytest.raises(ValueError, match=r"boxes \[N, B, 4\].*got \(2, 3, 5\) and \(2, 3\)"):
        Boxes(np.zeros((2, 3, 5), "f4"), np.zeros((2, 3), "f4"))


def test_poses_show_their_sizes_and_not_their_numbers():
    assert repr(poses(4)) == "Poses(frames=4, individuals=2, keypoints=3)"
    assert repr(poses(4).boxes) == "Boxes(frames=4, boxes=5)"


def test_importing_the_package_costs_numpy_and_nothing_more():
    code = (
        "import sys, dlc_deploy\n"
        "heavy = 'torch onnx onnxruntime pandas tables av cv2 pydantic yaml rich'.split()\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_name_the_package_does_not_have_is_an_attribute_error():
    import dlc_deploy

    assert {"load", "export", "analyze_video", "Poses"} <= set(dir(dlc_deploy))
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        dlc_deploy.lode  # noqa: B018

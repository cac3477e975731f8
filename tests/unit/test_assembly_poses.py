"""Poses that lie on each other, and which pose is which named animal."""

from __future__ import annotations

import numpy as np
import pytest

from dlc_deploy.grouping import PoseNmsGrouping
from dlc_deploy.runtime.assembly import assign_identities, group

SQUARE = np.array([[0, 0], [100, 0], [100, 100], [0, 100]], np.float32)


def poses(*shifts):
    """Squares [1, I, 4, 3] of 100 px, moved to the right; diagonal 141 px."""
    scores = [np.full((4, 1), 0.9 - 0.1 * n) for n in range(len(shifts))]
    rows = [np.hstack([np.add(SQUARE, (x, 0)), s]) for x, s in zip(shifts, scores, strict=True)]
    return np.array([rows], np.float32)


def kept(found, threshold=0.05):
    return group(PoseNmsGrouping(threshold=threshold), {"poses": found}).source[0, :, 0].tolist()


def test_of_poses_that_lie_on_each_other_the_best_is_kept():
    assert kept(poses(0, 300, 3)) == [1, 0, -1]  # 3 px is less than 0.05 * 141 px


def test_the_worst_survivor_comes_first():
    found = group(PoseNmsGrouping(), {"poses": poses(0, 300, 600)})
    assert found.source[0, :, 0].tolist() == [2, 1, 0]
    np.testing.assert_array_equal(found.poses, poses(0, 300, 600)[:, ::-1])


def test_one_near_keypoint_is_enough():
    found = poses(0, 300)
    found[0, 1, 2, :2] = found[0, 0, 2, :2] + 5
    assert kept(found) == [0, -1]


def test_what_counts_is_the_size_of_the_worse_pose():
    found = poses(0, 300)
    found[0, 1, :, :2] = SQUARE / 20 + 4  # nearest: 5.7 px; 0.05 of its diagonal: 0.35 px
    assert kept(found) == [1, 0]
    found = found[:, ::-1]
    assert kept(found) == [0, -1]


def test_a_dropped_pose_also_drops():
    assert kept(poses(0, 6, 12)) == [0, -1, -1]  # the third is near the second only


def test_dropped_poses_are_absent():
    found = group(PoseNmsGrouping(), {"poses": poses(0, 1)})
    assert np.isnan(found.poses[0, 1]).all() and np.isfinite(found.poses[0, 0]).all()
    assert found.source[0, 1].tolist() == [-1] * 4 and found.affinity is None


def test_other_shapes_of_poses_are_refused():
    with pytest.raises(ValueError, match=r"Expected poses \[N, I, K, 3\], got \[4, 3\]"):
        kept(poses(0)[0, 0])


def test_names_go_where_the_sum_is_largest():
    score = np.ones((1, 2, 1), np.float32)
    identity = np.array([[[[0.9, 0.8]], [[0.8, 0.1]]]], np.float32)
    assert assign_identities(score, identity).tolist() == [[1, 0]]  # 0.8 + 0.8 against 0.9 + 0.1


def test_keypoints_speak_by_their_score():
    score = np.array([[[0.9, 0.1], [0.9, 0.1]]], np.float32)
    identity = np.array([[[[0.1, 0.6], [0.9, 0]], [[0.6, 0.1], [0, 0.9]]]], np.float32)
    assert assign_identities(score, identity).tolist() == [[1, 0]]
    assert assign_identities(score[..., ::-1], identity).tolist() == [[0, 1]]


def test_absent_animals_take_the_names_that_are_left():
    score = np.array([[[np.nan], [0.5], [np.nan]]], np.float32)
    identity = np.full((1, 3, 1, 3), np.nan, np.float32)
    identity[0, 1, 0] = 0.1, 0.2, 0.9
    assert assign_identities(score, identity)[0, 2] == 1


def test_there_must_be_as_many_names_as_animals():
    with pytest.raises(ValueError, match="as many animals as its project names"):
        assign_identities(np.ones((1, 3, 2)), np.ones((1, 3, 2, 2)))

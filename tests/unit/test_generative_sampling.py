"""Each kind of error that conditions are drawn with, by its distances, and how often it comes."""

from __future__ import annotations

import numpy as np
import pytest

from dlc_deploy.errors import ConfigError

torch = pytest.importorskip("torch")

from dlc_deploy.training.data.generative_sampling import GenerativeSampler  # noqa: E402

pytestmark = pytest.mark.torch

POSE = np.array([[50.0, 60, 2], [90, 60, 1], [70, 100, 0]])
NEAR = np.add(POSE, [0, 80, 0])
NOBODY = np.empty((0, 3, 3))
SIZE = (200, 200)
AREA = 40.0 * 40
NEVER = {"jitter_prob": 0.0, "swap_prob": 0.0, "inv_prob": 0.0, "miss_prob": 0.0}
PAIR = {"keypoint_sigmas": 0.05, "keypoints_symmetry": [[0, 1]]}
DRAWN = 120


def drawn(section, near=NOBODY, pose=POSE, size=SIZE):
    sampler = GenerativeSampler.of(3, PAIR | NEVER | section)
    return np.stack([sampler(pose, near, AREA, size) for _ in range(DRAWN)]), sampler.distances(
        AREA
    )


def distance(poses, place):
    """Of the first keypoint."""
    return np.linalg.norm(poses[:, 0, :2] - np.array(place)[:2], axis=-1)


def test_distances_are_where_the_similarity_of_oks_falls_to_its_value():
    sampler = GenerativeSampler.of(2, {"keypoint_sigmas": [0.05, 0.1]})
    reach = sampler.distances(AREA)
    similarity = np.exp(-(reach**2) / (2 * AREA * (2 * np.array([0.05, 0.1])) ** 2))
    np.testing.assert_allclose(similarity, np.array([[0.85] * 2, [0.5] * 2, [0.1] * 2]))


def test_good_is_close():
    poses, (near, _, _) = drawn({})
    apart = distance(poses, POSE[0])
    assert 0.8 * near[0] < apart.max() < near[0]
    assert (poses[:, :2, 2] == 2).all(), "what is labelled becomes visible"
    assert (poses[:, 2] == 0).all(), "what is not labelled has no condition"


def test_jitter_is_a_little_off():
    poses, (near, middle, _) = drawn({"jitter_prob": 1.0})
    apart = distance(poses, POSE[0])
    assert near[0] < apart.min() < 1.1 * near[0] and 0.9 * middle[0] < apart.max() < middle[0]


def test_a_miss_is_far_off_from_everything_it_could_be_taken_for():
    poses, (_, middle, far) = drawn({"miss_prob": 1.0}, near=NEAR[None])
    places = [POSE[0], POSE[1], NEAR[0], NEAR[1]]
    apart = np.stack([distance(poses, place) for place in places])
    assert (apart > middle[0]).all() and (apart.min(axis=0) < far[0]).all()
    closest = np.bincount(apart.argmin(axis=0), minlength=4) / DRAWN
    assert 0.4 < closest[0] < 0.75 and (closest[1:] > 0.05).all(), "others count a quarter"


def test_a_miss_is_not_beside_another_place_it_could_be_taken_for():
    close = np.add(POSE, [0, 6, 0])
    poses, (_, middle, far) = drawn({"miss_prob": 1.0}, near=close[None])
    assert middle[0] < 6 < far[0]
    assert (distance(poses, POSE[0]) > middle[0]).all()
    assert (distance(poses, close[0]) > middle[0]).all()


def test_an_inversion_is_at_the_other_of_the_pair():
    poses, (_, middle, _) = drawn({"inv_prob": 1.0})
    assert (distance(poses, POSE[1]) < middle[0]).all()
    from_drawn = np.linalg.norm(poses[:, 1, :2] - poses[:, 0, :2], axis=1)
    assert (from_drawn < middle[1]).all(), "the second is put where the first was"


def test_a_swap_is_at_a_near_animal():
    poses, (_, middle, _) = drawn({"swap_prob": 1.0}, near=NEAR[None])
    to_same, to_pair = distance(poses, NEAR[0]), distance(poses, NEAR[1])
    assert (np.minimum(to_same, to_pair) < middle[0]).all()
    assert 0.3 < (to_same < middle[0]).mean() < 0.7


def test_an_error_that_is_not_possible_leaves_the_others():
    assert (drawn({"swap_prob": 1.0})[0][:, :2] == 0).all(), "no animal to swap with"
    alone = POSE * [[1, 1, 1], [1, 1, 0], [1, 1, 0]]
    poses, (near, _, _) = drawn({"inv_prob": 0.9}, pose=alone)
    assert (distance(poses, POSE[0]) < near[0]).all(), "no pair to take it for"


def test_how_often_each_kind_comes():
    section = {"jitter_prob": 0.3, "miss_prob": 0.2}
    poses, (near, middle, _) = drawn(section)
    apart = np.linalg.norm(poses[:, :2, :2] - POSE[:2, :2], axis=2).ravel()
    shares = np.array([(apart < near[0]).mean(), (apart > middle[0]).mean()])
    # of 240 keypoints, a share of 0.5 is within 0.1 in 99.8 % of all cases
    np.testing.assert_allclose(shares, [0.5, 0.2], atol=0.1)


def test_pairs_are_drawn_where_none_are_given():
    poses, (_, middle, _) = drawn(
        {"inv_prob": 1.0, "keypoints_symmetry": None}, pose=np.add(POSE, [0, 0, 2])
    )
    to_second, to_third = distance(poses, POSE[1]), distance(poses, POSE[2])
    assert (to_second < middle[0]).any() and (to_third < middle[0]).any()


def test_conditions_stay_in_the_image():
    poses, _ = drawn({"miss_prob": 1.0}, size=(61, 51))
    assert poses[..., 0].max() == 51 and poses[..., 1].max() == 61 and poses.min() == 0


def test_conditions_follow_the_generator_of_torch():
    first, second = (
        (torch.manual_seed(seed), drawn({"jitter_prob": 0.5})[0])[1] for seed in (1, 2)
    )
    torch.manual_seed(1)
    np.testing.assert_array_equal(first, drawn({"jitter_prob": 0.5})[0])
    assert (first != second).any()


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ({"jitter": 0.1}, "got jitter as well"),
        ({"jitter_prob": 0.9}, "add up to 1"),
        ({"swap_prob": -0.1}, "add up to 1"),
        ({"keypoint_sigmas": [0.1, 0.2]}, "3 keypoint_sigmas, got 2"),
    ],
)
def test_a_wrong_section_is_an_error(section, named):
    with pytest.raises(ConfigError, match=named):
        GenerativeSampler.of(3, section)

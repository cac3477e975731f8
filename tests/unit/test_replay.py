from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from dlc_deploy.bundle import Golden
from dlc_deploy.errors import BundleError, VerificationError
from dlc_deploy.poses import Poses
from dlc_deploy.runtime.replay import replay_golden

FRAMES = np.zeros((1, 8, 8, 3), np.uint8)
XY = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
SCORE = np.full((1, 2, 2), 0.9, np.float32)
UNIQUE = Poses(np.float32([[[[5, 6]]]]), np.float32([[[0.8]]]))
IDENTITY = np.full((1, 2, 2, 2), 0.5, np.float32)
GOLDEN = Poses(XY, SCORE, unique=UNIQUE, identity=IDENTITY)


def replayed(got, expected=GOLDEN, corners=("corner",)):
    """The golden frame through an estimator that gives ``got``."""
    manifest = SimpleNamespace(bodyparts=("snout", "tail"), unique_bodyparts=corners)
    bundle = SimpleNamespace(manifest=manifest, path="mice")

    class Fixed:
        max_individuals, pipeline = 2, None

        def __call__(self, frames):
            assert frames is FRAMES
            return got

    estimator = Fixed()
    estimator.bundle = bundle
    return replay_golden(estimator, Golden(FRAMES, expected))


def test_animals_and_unique_bodyparts_are_compared():
    replay = replayed(GOLDEN)
    assert (replay.points, replay.px_max, replay.score_max) == (5, 0, 0) and replay.passed


@pytest.mark.parametrize(("px", "passes"), [(0.009, True), (0.011, False)])
def test_a_unique_bodypart_has_to_be_where_it_was(px, passes):
    moved = Poses(UNIQUE.xy + np.float32([px, 0]), UNIQUE.score)
    assert replayed(replace(GOLDEN, unique=moved)).passed == passes


@pytest.mark.parametrize(("change", "passes"), [(0.0009, True), (0.0011, False), (np.nan, False)])
def test_identities_have_to_be_what_they_were(change, passes):
    assert replayed(replace(GOLDEN, identity=IDENTITY + np.float32(change))).passed == passes


def test_golden_poses_without_the_unique_bodyparts_are_a_fault_of_the_bundle():
    with pytest.raises(BundleError, match=r"with 1 unique bodyparts, got .* with 0"):
        replayed(GOLDEN, replace(GOLDEN, unique=None))


def test_a_golden_frame_without_an_animal_says_so():
    nothing = Poses.absent(1, GOLDEN)
    replay = replayed(nothing, nothing)
    with pytest.raises(VerificationError, match="golden frame of this bundle shows no animal"):
        replay.require()

"""Grouping against DeepLabCut's own: animals from peaks, order of poses, identities."""

from __future__ import annotations

import numpy as np
import pytest

from dlc_deploy.grouping import PafGrouping, PoseNmsGrouping
from dlc_deploy.runtime.assembly import assign_identities, group
from tests.reference import REFERENCE, needs_reference

pytestmark = needs_reference
ANIMALS = 3


def load(name):
    with np.load(REFERENCE / "preprocess" / f"{name}.npz") as file:
        return dict(file)


def best_peaks(arrays, frame, edges, kept):
    """What a graph would give, of DeepLabCut's peaks and costs of one frame."""
    parts = int(arrays["edges"].max()) + 1
    found = [arrays[f"peaks_{frame}_{part}"] for part in range(parts)]
    order = [np.argsort(-peaks[:, 2], kind="stable")[:ANIMALS] for peaks in found]
    peaks = np.zeros((parts, ANIMALS, 3), np.float32)
    affinities = np.zeros((len(edges), ANIMALS, ANIMALS), np.float32)
    for part in range(parts):
        peaks[part, : len(order[part])] = found[part][order[part]]
    for row, (edge, (source, target)) in enumerate(zip(kept, edges, strict=True)):
        costs = arrays[f"cost_{frame}_{edge}_m1"][np.ix_(order[source], order[target])]
        affinities[row, : len(costs), : costs.shape[1]] = costs
    return peaks, affinities


def in_deeplabcuts_format(poses):
    absent = np.isnan(poses).all(axis=(2, 3))
    return np.where(absent[..., None, None], np.float32(-1), poses)


@pytest.mark.parametrize(("graph", "kept"), [("all_edges", range(6)), ("tree_edges", (0, 3, 5))])
def test_animals_are_deeplabcuts(graph, kept):
    golden = load("predictor_paf")
    arrays = {k.removeprefix(f"{graph}/"): v for k, v in golden.items() if k.startswith(graph)}
    arrays["edges"] = golden["edges"]
    edges = tuple(tuple(map(int, golden["edges"][edge])) for edge in kept)
    frames = [best_peaks(arrays, frame, edges, kept) for frame in range(4)]
    decoded = {
        name: np.stack(values)
        for name, values in zip(("peaks", "affinities"), zip(*frames, strict=True), strict=True)
    }
    found = group(PafGrouping(edges=edges, individuals=ANIMALS), decoded)
    expected = arrays["frames_0_4"]
    assert (expected[..., 2] > 0.1).sum() > 30
    np.testing.assert_array_equal(in_deeplabcuts_format(found.poses), expected[..., :3])
    affinity = np.where(np.isnan(found.affinity), -1, found.affinity)
    np.testing.assert_allclose(affinity, expected[:, :, 0, 4], rtol=1e-6)


def test_the_order_of_poses_is_deeplabcuts():
    golden = load("predictor_dekr")
    found = group(PoseNmsGrouping(threshold=0.05), {"poses": golden["no_nms"]})
    expected = golden["default_cfg"]
    assert (expected[..., 2] > 0.3).sum() > 8
    assert not np.array_equal(golden["no_nms"], expected)
    np.testing.assert_array_equal(in_deeplabcuts_format(found.poses), expected)


def test_the_order_of_identities_is_deeplabcuts():
    golden = load("identity")
    score, identity = golden["pose_for_assign"][None, ..., 2], golden["identity_scores"][None]
    shuffled = np.array([2, 0, 1])  # DeepLabCut's own order here is the one that is there already
    found = assign_identities(score[:, shuffled], identity[:, shuffled])[0]
    np.testing.assert_array_equal(shuffled[found], golden["order"])

"""Part affinity fields and identities against DeepLabCut's: peaks, affinities and animals of
made-up maps, and the identity scores of the families that have such a head."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests import families
from tests.reference import REFERENCE, needs_reference

torch = pytest.importorskip("torch")

from dlc_deploy.training.models.predictors import (  # noqa: E402
    IdentityPredictor,
    PartAffinityFieldPredictor,
)

pytestmark = [needs_reference, pytest.mark.torch]
ANIMALS, BODYPARTS = 3, 4
EDGES = {"all_edges": [0, 1, 2, 3, 4, 5], "tree_edges": [0, 3, 5]}
IDENTITY = (
    "resnet_50_paf_identity",
    "dlcrnet_stride16_ms5_identity",
    "hrnet_w18_paf_identity_unique",
)


@pytest.fixture(scope="module")
def made_up():
    """Five images with 3, 3, 2, 4 and no animals."""
    with np.load(REFERENCE / "preprocess" / "predictor_paf.npz") as file:
        return dict(file)


def predictor(made_up, kept):
    return PartAffinityFieldPredictor(
        num_animals=ANIMALS,
        num_multibodyparts=BODYPARTS,
        num_uniquebodyparts=0,
        graph=made_up["edges"].tolist(),
        edges_to_keep=kept,
    )


def outputs(made_up, images):
    return {name: torch.from_numpy(made_up[name][images]) for name in ("heatmap", "locref", "paf")}


def best(peaks):
    """Places of the peaks that DeepLabCut may link, best first."""
    return np.argsort(-peaks[:, 2], kind="stable")[:ANIMALS]


@pytest.mark.parametrize("variant", EDGES)
def test_peaks_and_affinities_are_the_best_of_deeplabcuts(made_up, variant):
    kept = EDGES[variant]
    stride = float(made_up["stride"])
    decoded = predictor(made_up, kept).decode(stride, outputs(made_up, slice(0, 4)))
    peaks, affinities = decoded["peaks"].numpy(), decoded["affinities"].numpy()
    left_out = compared = 0
    for image in range(4):
        chosen = []
        for part in range(BODYPARTS):
            expected = made_up[f"{variant}/peaks_{image}_{part}"]
            chosen.append(best(expected))
            left_out += len(expected) - len(chosen[-1])
            found = peaks[image, part]
            np.testing.assert_allclose(found[found[:, 2] > 0], expected[chosen[-1]], rtol=1e-6)
        for place, edge in enumerate(kept):
            source, target = made_up["edges"][edge]
            costs = made_up[f"{variant}/cost_{image}_{edge}_m1"]
            expected = np.zeros((ANIMALS, ANIMALS), np.float32)
            expected[: len(chosen[source]), : len(chosen[target])] = costs[
                np.ix_(chosen[source], chosen[target])
            ]
            # both are rounded to a thousandth; one that lies between two may go either way
            np.testing.assert_allclose(affinities[image, place], expected, atol=1.001e-3)
            compared += np.count_nonzero(expected)
            assert (np.abs(affinities[image, place] - expected) > 1e-6).sum() <= 1
    assert left_out >= 4 and compared > 25 * len(kept)


@pytest.mark.parametrize("variant", EDGES)
@pytest.mark.parametrize(("first", "last"), [(0, 4), (0, 5), (4, 5)])
def test_animals_are_deeplabcuts(made_up, variant, first, last):
    given = outputs(made_up, slice(first, last))
    poses = predictor(made_up, EDGES[variant])(float(made_up["stride"]), given)["poses"].numpy()
    expected = made_up[f"{variant}/frames_{first}_{last}"]
    assert poses.dtype == np.float32 and (first == 4) == (expected == -1).all()
    np.testing.assert_allclose(poses, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", IDENTITY)
def test_identity_scores_at_keypoints_are_deeplabcuts(name):
    stride = json.loads((families.folder(name) / "info.json").read_text())["strides"]["identity"]
    with np.load(families.folder(name) / "output.npz") as file:
        arrays = dict(file)
    raw = {"heatmap": torch.from_numpy(arrays["raw/identity/heatmap"])}
    poses = arrays["pred/bodypart/poses"]
    points = torch.from_numpy(np.nan_to_num(poses[..., :2]))
    scores = IdentityPredictor(apply_sigmoid=True).scores_at(stride, raw, points).numpy()
    compared = []
    for image, animal in np.argwhere(poses[:, :, 0, 4] >= 0):
        pose = poses[image, animal]
        # DeepLabCut has put the animals in another order by now.
        finals = arrays[f"final_{image}/bodyparts"]
        (row,) = (r for r, final in enumerate(finals) if np.array_equal(final, pose, True))
        found = np.isfinite(pose[:, 0])
        expected = arrays[f"final_{image}/identity_scores"][row][found]
        np.testing.assert_allclose(scores[image, animal][found], expected, atol=1e-6)
        compared.append(expected)
    assert sum(map(len, compared)) >= 12 and np.concatenate(compared).std() > 0.1

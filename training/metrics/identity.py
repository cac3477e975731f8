"""How often the identity head names the right animal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dlc_deploy.errors import InputError

from .matching import UNMATCHED, Float, Poses, closest_neighbors


def compute_identity_scores(
    individuals: Sequence[str],
    bodyparts: Sequence[str],
    predictions: Poses,
    identity_scores: Poses,
    ground_truth: Poses,
) -> dict[str, float]:
    """Share of labelled keypoints whose nearest prediction is given the right identity.

    As DeepLabCut's (``core/metrics/identity.py``).

    Args:
        individuals: names of the animals, in the order of the rows of ``ground_truth``.
        bodyparts: names of the bodyparts.
        predictions: of each image, float [P, K, 3 or more].
        identity_scores: of each image, float [P, K, len(individuals)].
        ground_truth: of each image, float [len(individuals), K, 3]; x, y, visibility.

    Returns:
        ``<bodypart>_accuracy`` from 0 to 1, NaN for a bodypart that was nowhere found.

    Raises:
        InputError: other images in ``predictions`` than in ``ground_truth``.
    """
    if predictions.keys() != ground_truth.keys():
        raise InputError(
            "Expected predictions for the labelled images and for no others, got "
            f"{len(predictions)} images against {len(ground_truth)}."
        )
    scores = {}
    for index, bodypart in enumerate(bodyparts):
        right: list[bool] = []
        for image, truth in ground_truth.items():
            right += _right(
                np.asarray(truth, dtype=np.float64)[:, index],
                np.asarray(predictions[image], dtype=np.float64)[:, index, :2],
                np.asarray(identity_scores[image], dtype=np.float64)[:, index],
            )
        scores[f"{bodypart}_accuracy"] = float(np.mean(right)) if right else float("nan")
    return scores


def _right(truth: Float, predicted: Float, scores: Float) -> list[bool]:
    """For each labelled keypoint that has a prediction, whether its identity is right."""
    labeled = np.flatnonzero((truth[:, 2] > 0) & ~np.isnan(truth[:, :2]).any(axis=1))
    finite = np.isfinite(predicted).all(axis=1)
    chosen = closest_neighbors(truth[labeled, :2], predicted[finite])
    found = chosen != UNMATCHED
    named = scores[finite][chosen[found]].argmax(axis=1)
    return list((named == labeled[found]).tolist())

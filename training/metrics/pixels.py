"""Distances in pixels between predicted and labelled keypoints.

What DeepLabCut calls an RMSE is the mean of distances (``core/metrics/distance_metrics.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from dlc_deploy.errors import InputError

from .matching import (
    UNMATCHED,
    Float,
    ImagePoses,
    closest_neighbors,
    match_greedily,
    object_keypoint_similarity,
    split_matched,
    visible,
)

_LEAST_SIMILARITY = 1e-6
_SIGMA = 0.1  # DeepLabCut matches with this one, whatever mAP is computed with


class PixelErrors:
    """Distances of predicted keypoints from their labels, with the scores of the predictions.

    Attributes:
        distances: float64 [N, K]; NaN where there is no label, or no prediction.
        scores: float64 [N, K].
    """

    def __init__(self, rows: Iterable[tuple[Float, Float]], keypoints: int) -> None:
        pairs = list(rows)
        stacked = np.array(pairs, dtype=np.float64).reshape(len(pairs), 2, keypoints)
        self.distances: Float = stacked[:, 0]
        self.scores: Float = stacked[:, 1]

    def confident(self, cutoffs: float | Float) -> Float:
        """The distances of keypoints whose score reaches ``cutoffs`` (one, or [K]); 1-D."""
        return np.asarray(self.distances[self.scores >= cutoffs])

    def per_keypoint(self) -> list[float]:
        """The mean distance of each keypoint; NaN where there is none."""
        return [mean_distance([column]) for column in self.distances.T]


def mean_distance(distances: Iterable[Float]) -> float:
    """The mean of all that is not NaN; NaN if nothing is left."""
    together = np.concatenate([np.empty(0), *(np.ravel(part) for part in distances)])
    together = together[~np.isnan(together)]
    return float(together.mean()) if len(together) else float("nan")


def errors_of_matched(pairs: Sequence[ImagePoses], keypoints: int) -> PixelErrors:
    """Errors of several animals: each prediction against the animal that it is matched with."""
    rows = []
    for pair in pairs:
        matrix = object_keypoint_similarity(pair.truth[..., :2], pair.predicted[..., :2], _SIGMA)
        for pose, truth in split_matched(pair, match_greedily(matrix, _LEAST_SIMILARITY)):
            if truth is not None:
                rows.append((_distances(pose, truth), pose[:, 2]))
    return PixelErrors(rows, keypoints)


def errors_of_single(pairs: Sequence[ImagePoses], keypoints: int) -> PixelErrors:
    """Errors of one animal, or of the unique bodyparts: nothing to match.

    Raises:
        InputError: several animals in an image.
    """
    rows = []
    for pair in pairs:
        if max(len(pair.truth), len(pair.predicted)) > 1:
            raise InputError(
                "Expected at most one labelled animal and one prediction in each image of a single "
                f"animal, got {len(pair.truth)} and {len(pair.predicted)}. "
                "Pass single_animal=False."
            )
        if len(pair.truth) and len(pair.predicted):
            pose = pair.predicted[0]
            rows.append((_distances(pose, pair.truth[0]), pose[:, 2]))
    return PixelErrors(rows, keypoints)


def errors_of_detections(pairs: Sequence[ImagePoses], keypoints: int) -> PixelErrors:
    """Errors without regard to which animal a keypoint belongs to: each label against a near
    prediction of its bodypart.

    As DeepLabCut does, nearness counts visibility and score as a third coordinate.
    """
    rows = []
    for pair in pairs:
        for keypoint in range(keypoints):
            truth, found = pair.truth[:, keypoint], pair.predicted[:, keypoint]
            truth, found = truth[visible(truth)], found[visible(found)]
            chosen = closest_neighbors(truth, found)
            matched = chosen != UNMATCHED
            for label, point in zip(truth[matched], found[chosen[matched]], strict=True):
                distances, scores = np.full((2, keypoints), np.nan)
                distances[keypoint] = np.linalg.norm(label[:2] - point[:2])
                scores[keypoint] = point[2]
                rows.append((distances, scores))
    return PixelErrors(rows, keypoints)


def _distances(pose: Float, truth: Float) -> Float:
    return np.asarray(np.linalg.norm(pose[:, :2] - truth[:, :2], axis=1))

"""Mean average precision and recall of poses by object keypoint similarity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .matching import UNMATCHED, Float, ImagePoses, match_greedily, object_keypoint_similarity

OKS_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_LEVELS = np.linspace(0.0, 1.0, 101)


def mean_precision_and_recall(
    pairs: Sequence[ImagePoses], sigma: float | ArrayLike = 0.1, margin: float = 0.0
) -> tuple[float, float]:
    """Precision (mAP) and recall (mAR) in percent, over COCO's thresholds 0.50, 0.55 ... 0.95.

    Animals and predictions of fewer than two keypoints do not count. The matching is DeepLabCut's
    (``core/metrics/distance_metrics.py``, ``compute_oks``), so the figures are not quite those of
    pycocotools: there a prediction whose best animal is taken gets the next one, boxes give the
    areas, and each image has at most 20 predictions.

    Returns:
        (0, 0) without any prediction; the recall is NaN where nothing is labelled.
    """
    kept = [pair.with_keypoints(2) for pair in pairs]
    similarities = [
        object_keypoint_similarity(pair.truth[..., :2], pair.predicted[..., :2], sigma, margin)
        for pair in kept
    ]
    if not sum(len(pair.predicted) for pair in kept):
        return 0.0, 0.0
    order = np.argsort(-np.concatenate([pair.confidences() for pair in kept]), kind="stable")
    labeled = sum(len(pair.truth) for pair in kept)
    curves = []
    for threshold in OKS_THRESHOLDS:
        found = np.concatenate([_found(matrix, threshold) for matrix in similarities])
        curves.append(_precision_and_recall(found[order], labeled))
    precision, recall = np.mean(curves, axis=0)
    return 100 * float(precision), 100 * float(recall)


def _found(similarity: Float, threshold: float) -> Float:
    """1 for each prediction that has an animal at this threshold, else 0."""
    return np.asarray(match_greedily(similarity, threshold) != UNMATCHED, dtype=np.float64)


def _precision_and_recall(found: Float, labeled: int) -> tuple[float, float]:
    """Of predictions from the most confident on: mean precision at 101 recalls, and the recall."""
    hits = np.cumsum(found)
    if not labeled:
        return 0.0, float("nan")
    precision = hits / (np.arange(1, len(found) + 1) + np.spacing(1))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    recall = hits / labeled
    first = np.searchsorted(recall, RECALL_LEVELS, side="left")
    reached = np.append(envelope, 0.0)[first]
    return float(reached.mean()), float(recall[-1])

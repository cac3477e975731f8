"""DeepLabCut's figures of a pose model, from labels and predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlc_deploy.errors import InputError

from .matching import ImagePoses, Poses, pair_poses
from .pixels import (
    PixelErrors,
    errors_of_detections,
    errors_of_matched,
    errors_of_single,
    mean_distance,
)
from .precision import mean_precision_and_recall

Cutoffs = float | Sequence[float]


def compute_metrics(
    ground_truth: Poses,
    predictions: Poses,
    single_animal: bool = False,
    unique_bodypart_gt: Poses | None = None,
    unique_bodypart_poses: Poses | None = None,
    pcutoff: Cutoffs = 0.6,
    oks_bbox_margin: float = 0,
    oks_sigma: float | ArrayLike = 0.1,
    per_keypoint_rmse: bool = False,
    compute_detection_rmse: bool = True,
) -> dict[str, float]:
    """RMSE in pixels, mAP and mAR in percent: DeepLabCut's inputs, names and numbers.

    Follows ``core/metrics/api.py`` of DeepLabCut 3.0.2. With several animals, predictions are
    matched to labelled animals first; the distances of those without a match do not count.

    Args:
        ground_truth: of each image, float [A, K, 3]; x and y in pixels, visibility (> 0: labelled).
        predictions: of the same images, float [P, K, 3 or more]; x, y, score (< 0: not found).
        single_animal: whether images hold one animal, which nothing needs to be matched to.
        unique_bodypart_gt: of each image, float [1, U, 3].
        unique_bodypart_poses: of each image, float [1, U, 3].
        pcutoff: the least score of ``rmse_pcutoff``; one for all, or one for each bodypart and
            then each unique bodypart. DeepLabCut's own default is -1, which cuts nothing off.
        oks_bbox_margin: pixels around labelled keypoints, for the areas that mAP and mAR are
            relative to.
        oks_sigma: COCO's constant of mAP and mAR; one, or one for each bodypart.
        per_keypoint_rmse: also ``rmse_keypoint_<i>`` and ``rmse_unique_keypoint_<i>``.
        compute_detection_rmse: also ``rmse_detections`` and ``rmse_detections_pcutoff`` of several
            animals, whatever animal a keypoint was given to.

    Returns:
        ``rmse``, ``rmse_pcutoff``, ``mAP``, ``mAR`` and what was asked for; NaN for a mean of
        nothing.

    Raises:
        InputError: arrays or cutoffs that do not fit together.
    """
    pairs = pair_poses(ground_truth, predictions)
    unique = _unique_pairs(unique_bodypart_gt, unique_bodypart_poses) or []
    count = _keypoints(pairs)
    cutoffs = _per_keypoint(pcutoff, count + _keypoints(unique))
    errors = errors_of_single(pairs, count) if single_animal else errors_of_matched(pairs, count)
    others = errors_of_single(unique, _keypoints(unique)), cutoffs[count:]
    results = _means("rmse", [(errors, cutoffs[:count]), others])
    if per_keypoint_rmse:
        results |= _numbered("rmse_keypoint", errors)
        results |= _numbered("rmse_unique_keypoint", others[0])
    results["mAP"], results["mAR"] = mean_precision_and_recall(pairs, oks_sigma, oks_bbox_margin)
    if compute_detection_rmse and not single_animal:
        detected = errors_of_detections(pairs, count)
        results |= _means("rmse_detections", [(detected, cutoffs[:count]), others])
    return results


def _unique_pairs(truth: Poses | None, predicted: Poses | None) -> list[ImagePoses] | None:
    if (truth is None) != (predicted is None):
        raise InputError(
            "Expected labels and predictions of unique bodyparts together, got only one of them. "
            "Pass both unique_bodypart_gt and unique_bodypart_poses, or neither."
        )
    return None if truth is None or predicted is None else pair_poses(truth, predicted)


def _keypoints(pairs: Sequence[ImagePoses]) -> int:
    """Bodyparts of the arrays; 0 where there is no image."""
    return pairs[0].truth.shape[1] if pairs else 0


def _per_keypoint(pcutoff: Cutoffs, keypoints: int) -> NDArray[np.float64]:
    """The cutoff of each keypoint, float64 [keypoints]."""
    cutoffs = np.asarray(pcutoff, dtype=np.float64)
    if not cutoffs.ndim or not keypoints:
        return np.broadcast_to(cutoffs if not cutoffs.ndim else np.empty(0), keypoints)
    if len(cutoffs) != keypoints:
        raise InputError(
            f"Expected one pcutoff for each of the {keypoints} bodyparts and unique bodyparts, got "
            f"{len(cutoffs)}. Pass a number for all of them, or a list of {keypoints}."
        )
    return cutoffs


def _means(
    name: str, groups: Sequence[tuple[PixelErrors, NDArray[np.float64]]]
) -> dict[str, float]:
    """The mean distance of all keypoints, and that of the confident ones."""
    return {
        name: mean_distance(errors.distances for errors, _ in groups),
        f"{name}_pcutoff": mean_distance(errors.confident(cutoffs) for errors, cutoffs in groups),
    }


def _numbered(name: str, errors: PixelErrors) -> dict[str, float]:
    return {f"{name}_{index}": mean for index, mean in enumerate(errors.per_keypoint())}

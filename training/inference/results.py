"""Results of runners, under DeepLabCut's names (its ``data/postprocessor.py``)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlc_deploy.manifest import Manifest
from dlc_deploy.poses import Poses
from dlc_deploy.runtime.outputs.track import Track
from dlc_deploy.training.models.predictors.paf import with_affinity

Result = dict[str, NDArray[Any]]
"""Of one image:

bodyparts: float32 [A, K, 3]; x and y in pixels of the image, and score. An absent animal is -1, an
    absent keypoint of a present one NaN, NaN, 0. Models that link keypoints have two more columns:
    -1, and how well the animal hangs together.
unique_bodyparts: float32 [1, U, 3], where the model has them.
identity_scores: float64 [A, K, names], where the model tells individuals apart and was asked to.
bboxes: [A, 4]; left, top, width, height, of models that see crops and of detectors.
bbox_scores: [A]; of top-down models and detectors.
"""


def results_of(
    poses: Poses, manifest: Manifest, individuals: int, affinity: NDArray[np.float32] | None
) -> list[Result]:
    """What was found in each frame of ``poses``, with at least ``individuals`` rows.

    Args:
        poses: of N frames.
        manifest: of the model.
        individuals: rows that are wanted; more stay where more animals were found.
        affinity: float32 [N, A]; of the animals, where keypoints are linked.
    """
    track = Track(manifest, 0, poses)
    bodyparts = track.bodyparts()
    if affinity is not None:
        plain = np.concatenate([poses.xy, poses.score[..., None]], axis=-1)
        bodyparts = with_affinity(plain, affinity)
    unique, identities = track.unique_bodyparts(), track.identities()
    results = []
    for row in range(len(poses)):
        result: Result = {"bodyparts": padded(bodyparts[row], individuals)}
        if unique is not None:
            result["unique_bodyparts"] = unique[row]
        if identities is not None:
            result["identity_scores"] = padded(identities[row], individuals)
        results.append(result)
    return results


def padded(values: NDArray[Any], rows: int) -> NDArray[Any]:
    """``values`` [A, ...], with rows of -1 after them where they are fewer than ``rows``."""
    missing = max(0, rows - len(values))
    filling = np.full((missing, *values.shape[1:]), -1, values.dtype)
    return np.concatenate([values, filling])

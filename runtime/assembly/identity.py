"""Which pose is which named animal."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from .grouped import Float, Index


def assign_identities(score: Float, identity: Float) -> Index:
    """The order in which poses take the names of a project's individuals.

    The sum over the poses of the mean over keypoints of score times identity becomes as large as
    it can (deeplabcut's post_processing/identity.py). Absent animals take the names that are left;
    DeepLabCut gives them the identity of the pixel at the top left, which is as good as none.

    Args:
        score: float32 [N, I, K]; NaN for absent animals.
        identity: float32 [N, I, K, I]; how much each keypoint looks like each named animal.

    Returns:
        int64 [N, I]: row i of the result is the pose at ``order[n, i]``.

    Raises:
        ValueError: there are not as many names as animals.
    """
    individuals = score.shape[1]
    if identity.shape != (*score.shape, individuals):
        raise ValueError(
            f"Expected identity {[*score.shape, individuals]}, got {list(identity.shape)}: a model "
            "with an identity head must look for as many animals as its project names."
        )
    likeness = (score[..., None].astype(np.float64) * identity).mean(axis=2)
    likeness[~np.isfinite(likeness)] = 0
    order = np.empty(score.shape[:2], np.int64)
    for frame, matrix in enumerate(likeness):
        poses, names = linear_sum_assignment(matrix, maximize=True)
        order[frame, names] = poses
    return order

"""Of two poses that lie on each other only the better one is kept."""

from __future__ import annotations

import numpy as np

from dlc_deploy.grouping import PoseNmsGrouping

from .grouped import Float, Grouped


def keep_best_poses(grouping: PoseNmsGrouping, poses: Float) -> Grouped:
    """Poses without those that lie on a better one, the worst of those kept first.

    A pose is dropped when more than ``threshold`` of its keypoints (so, for thresholds below 1,
    one) are nearer to those of a better pose than ``threshold`` times the diagonal of its own
    extent, at least 1 pixel; also when that better pose is dropped itself. So does, and in this
    order returns, pose_nms of deeplabcut's models/predictors/dekr_predictor.py.

    Args:
        grouping: the threshold.
        poses: float32 [N, I, K, 3], best first.

    Raises:
        ValueError: poses of another shape.
    """
    if poses.ndim != 4 or poses.shape[3] != 3:
        raise ValueError(f"Expected poses [N, I, K, 3], got {list(poses.shape)}.")
    individuals = poses.shape[1]
    xy = poses[..., :2]
    extent = np.ptp(xy, axis=2)
    size = np.sqrt(np.maximum((extent * extent).sum(axis=2), 1))
    apart = np.sqrt(((xy[:, :, None] - xy[:, None]) ** 2).sum(axis=4))
    near = apart < np.float32(grouping.threshold) * size[:, None, :, None]
    on_each_other = near.sum(axis=3) > grouping.threshold
    better = np.triu(np.ones((individuals, individuals), bool), 1)
    kept = ~(on_each_other & better).any(axis=1)
    order = np.argsort(~kept[:, ::-1], axis=1, kind="stable")
    order = individuals - 1 - order
    grouped = np.take_along_axis(poses, order[..., None, None], axis=1)
    absent = ~np.take_along_axis(kept, order, axis=1)
    grouped[absent] = np.nan
    source = np.where(absent, -1, order)[..., None]
    return Grouped(grouped, np.repeat(source, poses.shape[2], axis=2).astype(np.int64))

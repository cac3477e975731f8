"""What a graph found becomes animals, on the host, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping

from dlc_deploy.grouping import Grouping, PafGrouping

from .grouped import Float, Grouped
from .identity import assign_identities
from .paf import group_peaks
from .pose_nms import keep_best_poses

__all__ = ["Grouped", "assign_identities", "group"]


def group(grouping: Grouping, decoded: Mapping[str, Float]) -> Grouped:
    """Make animals of what a pose graph gave.

    Args:
        grouping: how.
        decoded: the graph's outputs: ``peaks`` and ``affinities``, or ``poses``; see ``grouping``.

    Raises:
        ValueError: arrays of other shapes than ``grouping`` tells.
    """
    if isinstance(grouping, PafGrouping):
        return group_peaks(grouping, decoded["peaks"], decoded["affinities"])
    return keep_best_poses(grouping, decoded["poses"])

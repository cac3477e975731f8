"""Small DeepLabCut projects, as the keys and values of their ``config.yaml``."""

from __future__ import annotations

from typing import Any

BODYPARTS = ["snout", "leftear", "rightear", "tailbase"]
MICE = ["mouse1", "mouse2", "mouse3"]
CORNERS = ["corner1", "corner2"]


def single_animal(**changes: Any) -> dict[str, Any]:
    """A project of one animal with four bodyparts."""
    project = {"Task": "openfield", "project_path": "/data/openfield", "bodyparts": BODYPARTS}
    return project | {"multianimalproject": False} | changes


def multi_animal(**changes: Any) -> dict[str, Any]:
    """A project of three animals with four bodyparts."""
    project = single_animal(multianimalproject=True, bodyparts="MULTI!")
    return project | {"multianimalbodyparts": BODYPARTS, "individuals": MICE} | changes

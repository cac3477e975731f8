"""DeepLabCut's ``_full.pickle``: every detection of every frame, in plain NumPy arrays
(deeplabcut's apis/videos.py, _generate_output_data)."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from .track import Float, Track


def full_data(track: Track) -> dict[str, Any]:
    """The content of ``_full.pickle``.

    Frames are numbered from 0, as DeepLabCut's tracking expects; those before the first analysed
    one are NaN.
    """
    total = track.start + len(track)
    width = math.ceil(math.log10(total))
    joints = [*track.manifest.bodyparts, *track.manifest.unique_bodyparts]
    content: dict[str, Any] = {
        "metadata": {
            "nms radius": None,
            "minimal confidence": None,
            "sigma": 1,
            "PAFgraph": None,
            "PAFinds": np.arange(0),
            "all_joints": [[index] for index in range(len(joints))],
            "all_joints_names": joints,
            "nframes": total,
            "key_str_width": width,
        }
    }
    frames = _frames(track)
    for number in range(total):
        key = f"frame{str(number).zfill(width)}"
        content[key] = frames[number - track.start] if number >= track.start else _blank(frames[0])
    return content


def write_full_pickle(track: Track, path: Path) -> None:
    """Write ``_full.pickle``."""
    with path.open("wb") as file:
        pickle.dump(full_data(track), file, pickle.HIGHEST_PROTOCOL)


def _frames(track: Track) -> list[dict[str, Any]]:
    bodyparts, unique, boxes = track.bodyparts(), track.unique_bodyparts(), track.boxes()
    identities = track.identities()
    frames = []
    for row in range(len(track)):
        joints = list(bodyparts[row].transpose(1, 0, 2))
        if unique is not None:
            joints += list(unique[row].transpose(1, 0, 2))
        frames.append(_frame(joints))
        if boxes is not None:
            frames[-1] |= {"bboxes": boxes[0][row], "bbox_scores": boxes[1][row]}
        if identities is not None:
            # unique bodyparts are nobody's, but DeepLabCut's plots want an entry for each joint
            nobody = np.full_like(identities[row, :, 0], -1)
            looks = list(identities[row].transpose(1, 0, 2))
            frames[-1]["identity"] = looks + [nobody] * (len(joints) - len(looks))
    return frames


def _frame(joints: list[Float]) -> dict[str, Any]:
    """An entry of joints, each [individuals, 3]."""
    return {
        "coordinates": ([joint[:, :2] for joint in joints],),
        "confidence": [joint[:, 2:] for joint in joints],
        "costs": None,
    }


def _blank(like: Any) -> Any:
    """An entry of the same shapes in which nothing was found."""
    if isinstance(like, dict):
        return {key: _blank(value) for key, value in like.items()}
    if isinstance(like, list | tuple):
        return type(like)(_blank(value) for value in like)
    return like if like is None else np.full_like(like, np.nan)

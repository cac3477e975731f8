"""Poses of a video from a file, for a conditional top-down model to refine.

The files are those that deeplabcut's data/ctd.py (CondFromFile) takes: a ``.h5`` of predictions,
``_assemblies.pickle``, and ``.json``, a list with one entry for each frame, which is a list of
poses, which are lists of [x, y, score].
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlc_deploy.errors import InputError
from dlc_deploy.poses import Poses

from .unpickling import load_numbers, no_pickled_code

FORMATS = (".h5", ".json", ".pickle")
COORDS = ["x", "y", "likelihood"]
Values = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ConditionsFile:
    """What a file says about the frames of a video.

    Attributes:
        values: float32 [F, A, K, 3]; x, y, score; NaN, NaN, 0 for an absent keypoint and NaN
            throughout for an absent animal.
        rows: by frame number, where in ``values`` the frame is.
    """

    path: Path
    values: Values
    rows: dict[int, int]

    def at(self, frames: Sequence[int]) -> Poses:
        """The poses of these frames; nothing for a frame that is not in the file."""
        nothing = np.full((1, *self.values.shape[1:]), np.nan, np.float32)
        places = [self.rows.get(frame) for frame in frames]
        found = np.concatenate(
            [nothing if row is None else self.values[row : row + 1] for row in places]
        )
        return Poses(np.ascontiguousarray(found[..., :2]), np.ascontiguousarray(found[..., 2]))

    def unknown(self, frames: Sequence[int]) -> list[int]:
        """Those of ``frames`` that are not in the file."""
        return [frame for frame in frames if frame not in self.rows]


def read_conditions(path: Path, bodyparts: Sequence[str]) -> ConditionsFile:
    """Read a file of poses; nothing in it is executed.

    Args:
        path: the file.
        bodyparts: those of the model, in order.

    Raises:
        InputError: no such file, not one of these formats, damaged, or of other bodyparts.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS or not path.is_file():
        problem = "no such file" if suffix in FORMATS else "another format"
        raise InputError(
            f"{path}: expected conditions as a file {', '.join(FORMATS)}, or a bundle, "
            f"got {problem}."
        )
    read = {".h5": _read_h5, ".json": _read_json, ".pickle": _read_assemblies}[suffix]
    try:
        frames = read(path, list(bodyparts))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # pandas, PyTables and pickles raise many unrelated types.
        raise InputError(f"{path}: expected conditions, got a damaged file: {error}.") from error
    if not frames:
        raise InputError(f"{path}: expected poses of frames, got none.")
    animals = max(len(poses) for poses in frames.values())
    values = np.full((len(frames), animals, len(bodyparts), 3), np.nan, np.float32)
    for row, poses in zip(values, frames.values(), strict=True):
        row[: len(poses)] = poses
    return ConditionsFile(path, values, {frame: row for row, frame in enumerate(frames)})


def _read_h5(path: Path, bodyparts: list[str]) -> dict[int, Values]:
    """Rows are frames in order where they are not numbered, as in files of single images."""
    with no_pickled_code():
        table = pd.read_hdf(path)
    if not isinstance(table, pd.DataFrame) or "bodyparts" not in table.columns.names:
        raise InputError("expected DeepLabCut's table of predictions, got something else.")
    table = table.droplevel("scorer", axis="columns")
    multi = "individuals" in table.columns.names
    names = list(table.columns.unique("individuals")) if multi else [None]
    animals = [table[name] if multi else table for name in names]
    found = [a for a in animals if set(bodyparts) <= set(a.columns.unique("bodyparts"))]
    if not found:
        others = list(table.columns.unique("bodyparts"))
        raise InputError(f"expected the model's bodyparts {bodyparts}, got {others}.")
    order = pd.MultiIndex.from_product([bodyparts, COORDS])
    values = np.stack([a[order].to_numpy(np.float32) for a in found], axis=1)
    values = values.reshape(*values.shape[:2], len(bodyparts), 3)
    numbered = pd.api.types.is_integer_dtype(table.index)
    frames = table.index.tolist() if numbered else range(len(table))
    return dict(zip(frames, _without_missing(values), strict=True))


def _without_missing(values: Values) -> Values:
    """Absent keypoints are NaN or -1 in these files."""
    missing = np.any(np.isnan(values) | (values < 0), axis=-1)
    values[missing] = np.nan, np.nan, 0
    values[np.all(missing, axis=-1)] = np.nan
    return values


def _read_json(path: Path, bodyparts: list[str]) -> dict[int, Values]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, list):
        raise InputError(
            f"expected a list with the poses of each frame, got {type(content).__name__}. "
            "Poses of images, by their names, are none of a video."
        )
    return {frame: _poses(poses, frame, bodyparts) for frame, poses in enumerate(content)}


def _read_assemblies(path: Path, bodyparts: list[str]) -> dict[int, Values]:
    with path.open("rb") as file:
        content = load_numbers(file)
    if not isinstance(content, dict):
        raise InputError(f"expected a mapping of frames, got {type(content).__name__}.")
    # "single" is there too: the unique bodyparts.
    numbers = sorted(key for key in content if isinstance(key, int))
    return {
        frame: _poses([np.asarray(a)[:, :3] for a in content[frame]], frame, bodyparts)
        for frame in numbers
    }


def _poses(poses: Any, frame: int, bodyparts: list[str]) -> Values:
    """Float32 [A, K, 3] of what a file has for a frame."""
    shape = len(bodyparts), 3
    try:
        values = np.asarray(poses, np.float32)
    except (ValueError, TypeError):
        values = None
    if values is not None and values.shape == (0,):
        return np.empty((0, *shape), np.float32)
    if values is None or values.shape[1:] != shape:
        raise InputError(
            f"expected poses of {len(bodyparts)} keypoints with x, y and score in frame {frame}, "
            f"got {'something else' if values is None else list(values.shape)}."
        )
    return values

"""The labels of the training images, once more: as ``.mat`` for one animal and as ``.pickle`` for
several, which DeepLabCut's loader asks for
(``format_training_data`` and ``format_multianimal_training_data``)."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..config.project import Project
from ..whole_files import whole_file
from .images import ImageShape

_DECIMALS = 2


def training_images(
    table: pd.DataFrame, rows: Sequence[int], shapes: Sequence[ImageShape], project: Project
) -> list[dict[str, Any]]:
    """Each image of ``rows`` that has a label in it.

    Args:
        table: merged labels, [images, coordinates].
        rows: of the table.
        shapes: (channels, height, width) of the image of every row of the table.
        project: whose labels they are.

    Returns:
        ``image``, its row's label; ``size``, its shape; ``joints``, [labels, 3] of bodypart, x and
        y in pixels: whole numbers for one animal, and a dictionary of such arrays, with two
        decimals, by number of the animal for several.
    """
    images = []
    for row in rows:
        size = shapes[row]
        joints = _joints(table.iloc[row].to_numpy("float64"), size, project)
        if len(joints):
            images.append({"image": table.index[row], "size": size, "joints": joints})
    if project.multi_animal:
        return [image | {"size": np.asarray(image["size"])} for image in images]
    return [image | {"joints": image["joints"][0].astype(np.int64)} for image in images]


def write_training_data(path: Path, images: Sequence[dict[str, Any]]) -> None:
    """Write what :func:`training_images` gave, in the format that the name of ``path`` says.

    Raises:
        OutputError: the file could not be written.
    """
    with whole_file(path) as partial:
        if path.suffix == ".pickle":
            partial.write_bytes(pickle.dumps(list(images), pickle.HIGHEST_PROTOCOL))
        else:
            import scipy.io

            scipy.io.savemat(str(partial), {"dataset": _cells(images)}, appendmat=False)


def _joints(
    values: NDArray[np.float64], size: ImageShape, project: Project
) -> dict[int, NDArray[Any]]:
    """By animal, its labels inside the image."""
    bodyparts, unique = len(project.bodyparts), len(project.unique_bodyparts)
    animals = len(project.individuals) if project.multi_animal else 1
    own = values[: animals * bodyparts * 2].reshape(animals, bodyparts, 2)
    points = dict(enumerate(own))
    first = dict.fromkeys(points, 0)
    if unique:
        points[animals] = values[animals * bodyparts * 2 :].reshape(unique, 2)
        first[animals] = bodyparts
    joints = {}
    for number, xy in points.items():
        named = np.column_stack([first[number] + np.arange(len(xy)), xy])
        rounded = np.round(named.astype(np.float32), _DECIMALS) if project.multi_animal else named
        inside = _inside(rounded, size, whole=not project.multi_animal)
        if len(inside):
            joints[number] = inside
    return joints


def _inside(named: NDArray[Any], size: ImageShape, *, whole: bool) -> NDArray[Any]:
    """Without labels on the edge of the image or beyond."""
    there = named[~np.isnan(named).any(axis=1)]
    x, y = (np.trunc(there[:, axis]) if whole else there[:, axis] for axis in (1, 2))
    _, height, width = size
    kept: NDArray[Any] = there[(x > 0) & (x < width) & (y > 0) & (y < height)]
    return kept


def _cells(images: Sequence[dict[str, Any]]) -> NDArray[Any]:
    """MATLAB's cells in a structure with the fields image, size and joints."""
    cells = np.empty(len(images), [("image", "O"), ("size", "O"), ("joints", "O")])
    for number, image in enumerate(images):
        joints = np.empty((1, 1), object)
        joints[0, 0] = image["joints"]
        cells[number] = (np.array([image["image"]]), np.array([image["size"]]), joints)
    return cells

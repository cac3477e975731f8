"""DeepLabCut's table of labels to labelled images (``data/dlcloader.py``, to_coco)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlc_deploy.errors import InputError, some
from dlc_deploy.runtime.outputs.tables import UNIQUE

from ..projects.images import image_shapes
from .boxes import bbox_from_keypoints
from .labels import LabeledImage
from .parameters import PoseDatasetParameters

VISIBLE = 2
_AXES = ("x", "y")
_log = logging.getLogger(__name__)

Floats = NDArray[np.float64]


def labeled_images(
    table: pd.DataFrame, root: Path, parameters: PoseDatasetParameters, margin: float
) -> list[LabeledImage]:
    """The rows of a table as labelled images.

    A label on the edge of its image or beyond counts as not labelled, as in DeepLabCut; how many
    there are is logged. An animal is there where one of its bodyparts is.

    Args:
        table: a label in pixels, or NaN, by image (rows: parts of the path below ``root``) and
            scorer / [individuals /] bodyparts / coords (columns).
        root: folder of the project.
        parameters: which animals and bodyparts to take; columns are found by name.
        margin: pixels between keypoints and boxes.

    Raises:
        InputError: an image that is missing or twice there, columns that are missing, labels of
            animals that ``parameters`` do not name, or labels that are not finite.
    """
    _refuse_doubles(table)
    animals, unique = _coordinates(table, parameters)
    paths = [root.joinpath(*row) for row in table.index]
    shapes = image_shapes(paths)
    points = [_visible(xy, shape[1:]) for xy, shape in zip(animals, shapes, strict=True)]
    marks = [_visible(xy, shape[1:]) for xy, shape in zip(unique, shapes, strict=True)]
    _tell_outside(paths, [animals, unique], [points, marks])
    return [
        _labeled_image(path, number, shape[1:], animal, mark, margin)
        for number, (path, shape, animal, mark) in enumerate(
            zip(paths, shapes, points, marks, strict=True), start=1
        )
    ]


def _labeled_image(
    path: Path,
    number: int,
    size: tuple[int, int],
    animals: Floats,
    unique: Floats,
    margin: float,
) -> LabeledImage:
    """``animals`` [individuals, K, 3], ``unique`` [U, 3]."""
    there = np.flatnonzero((animals[..., 2] > 0).any(axis=1))
    return LabeledImage(
        path=path,
        id=number,
        height=size[0],
        width=size[1],
        keypoints=animals[there],
        boxes=bbox_from_keypoints(animals[there], *size, margin),
        individuals=there.astype(np.int64),
        categories=np.ones(len(there), np.int64),
        crowd=np.zeros(len(there), bool),
        unique=unique,
    )


def _visible(xy: Floats, size: tuple[int, int]) -> Floats:
    """Points [..., 2] with their visibility [..., 3]; zeros where nothing is in the image."""
    height, width = size
    inside = (xy > 0).all(axis=-1) & (xy[..., 0] < width) & (xy[..., 1] < height)
    keypoints = np.concatenate([xy, np.full((*xy.shape[:-1], 1), VISIBLE)], axis=-1)
    return np.where(inside[..., None], keypoints, 0)


def _coordinates(table: pd.DataFrame, parameters: PoseDatasetParameters) -> tuple[Floats, Floats]:
    """[images, individuals, K, 2] and [images, U, 2]."""
    flat = table.droplevel("scorer", axis="columns")
    if flat.columns.has_duplicates:
        scorers = ", ".join(map(str, table.columns.unique("scorer")))
        raise InputError(f"labels: expected one scorer, got {scorers}. Keep one in the table.")
    individuals = _individuals(flat, parameters)
    columns = [(name, part) for name in individuals for part in parameters.bodyparts]
    columns += [(UNIQUE, part) for part in parameters.unique_bpts]
    missing = [
        " ".join(column) for column in columns if _labels_of(flat, column)[0] not in flat.columns
    ]
    if missing:
        raise InputError(
            f"labels: expected columns for {some(missing)}, which the model's configuration "
            "names, found none. Create the training set again, or correct metadata in "
            "pytorch_config.yaml."
        )
    wanted = [label for column in columns for label in _labels_of(flat, column)]
    values = flat[wanted].to_numpy(np.float64)
    _refuse_infinite(table, values)
    count = len(individuals) * len(parameters.bodyparts) * 2
    animals = values[:, :count].reshape(len(table), len(individuals), len(parameters.bodyparts), 2)
    return animals, values[:, count:].reshape(len(table), len(parameters.unique_bpts), 2)


def _labels_of(flat: pd.DataFrame, column: tuple[str, str]) -> list[tuple[str, ...]]:
    """The columns of x and y of an individual's bodypart."""
    return [(*column, axis)[-flat.columns.nlevels :] for axis in _AXES]


def _individuals(flat: pd.DataFrame, parameters: PoseDatasetParameters) -> list[str]:
    """Names of the animals in the table, in the order of ``parameters``.

    A table of a single animal may not name it, or name it otherwise than the configuration.
    """
    named = list(parameters.individuals)
    alone = len(named) == 1
    if "individuals" not in flat.columns.names:
        if alone and not parameters.unique_bpts:
            return named
        raise InputError(
            f"labels: expected those of {some([*named, *parameters.unique_bpts])}, got a table of "
            "one animal. Convert the labels to a multi-animal project, or correct metadata in "
            "pytorch_config.yaml."
        )
    found = [str(name) for name in flat.columns.unique("individuals") if name != UNIQUE]
    if alone and len(found) == 1:
        return found
    labelled = flat.loc[:, flat.notna().any()].columns.unique("individuals")
    strangers = [name for name in found if name in labelled and name not in named]
    if strangers:
        raise InputError(
            f"labels: expected animals {some(named)}, got labels of {some(strangers)} too. Add "
            "them to metadata.individuals in pytorch_config.yaml, or make a new shuffle."
        )
    return named


def _refuse_doubles(table: pd.DataFrame) -> None:
    """An image that is there twice could be trained on and tested with."""
    twice = table.index[table.index.duplicated()]
    if len(twice):
        raise InputError(
            f"labels: expected each image once, got {len(twice)} rows again: "
            f"{some(['/'.join(row) for row in twice])}. Remove them from the CollectedData files "
            "and create the training set again."
        )


def _refuse_infinite(table: pd.DataFrame, values: Floats) -> None:
    rows = np.flatnonzero(np.isinf(values).any(axis=1)).tolist()
    if len(rows):
        names = ["/".join(table.index[row]) for row in rows]
        raise InputError(
            f"labels: expected finite numbers, got infinite ones in {len(rows)} images: "
            f"{some(names)}. Label them again."
        )


def _tell_outside(
    paths: Sequence[Path], given: Sequence[Floats], kept: Sequence[Sequence[Floats]]
) -> None:
    lost = [
        int((~np.isnan(xy).any(axis=-1)).sum() - (points[..., 2] > 0).sum())
        for values, seen in zip(given, kept, strict=True)
        for xy, points in zip(values, seen, strict=True)
    ]
    if any(lost):
        doubled = zip([*paths, *paths], lost, strict=True)
        names = list(dict.fromkeys(path.name for path, count in doubled if count))
        _log.warning(
            "%d labels lie on the edge of their image or outside and are left out: %s",
            sum(lost),
            some(names),
        )

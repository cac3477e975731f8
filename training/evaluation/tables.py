"""The files of an evaluation, as DeepLabCut writes them.

<scorer>.h5                       predictions of all labelled images, key df_with_missing
<scorer>-results.csv              figures of one snapshot
<scorer>-keypoint-results.csv     mean error of each bodypart
../CombinedEvaluation-results.csv figures of all snapshots of the project
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dlc_deploy.errors import InputError
from dlc_deploy.runtime.outputs.tables import COORDS, UNIQUE, write_h5

from ..data.base import Loader
from ..data.dlcloader import DLCLoader
from ..data.parameters import PoseDatasetParameters
from ..projects.folders import LABELED
from ..whole_files import whole_file
from .prediction import Prediction

COMBINED = "CombinedEvaluation-results.csv"
_LEVELS = ["scorer", "individuals", "bodyparts", "coords"]


def prediction_table(
    loader: Loader,
    scorer: str,
    predictions: Mapping[str, Prediction],
    names: PoseDatasetParameters,
) -> pd.DataFrame:
    """Predictions as DeepLabCut's table: rows are images in the order of the labels, columns are
    scorer / individuals / bodyparts / coords; unique bodyparts belong to "single".

    An image of a COCO folder is named by its path in the folder of images.
    """
    values = [_row(one, bool(names.unique_bpts)) for one in predictions.values()]
    columns = [(name, part) for name in names.individuals for part in names.bodyparts]
    columns += [(UNIQUE, part) for part in names.unique_bpts]
    labels = [(scorer, name, part, axis) for name, part in columns for axis in COORDS]
    table = pd.DataFrame(
        np.stack(values) if values else np.empty((0, len(labels)), np.float32),
        index=_index([image_key(loader, path) for path in predictions]),
        columns=_index(labels, _LEVELS),
    )
    if isinstance(loader, DLCLoader):
        # Labelled images that no split has are rows of NaN.
        return table.reindex(_index(list(loader.df.index)))
    return table


def image_key(loader: Loader, path: str) -> tuple[str, ...]:
    """The name of an image in a table: ``(labeled-data, video, file)`` in DeepLabCut's projects."""
    parts = Path(path).parts
    if isinstance(loader, DLCLoader):
        if len(parts) < 3 or parts[-3] != LABELED:
            raise InputError(f"{path}: expected an image in {LABELED}/<video>.")
        return parts[-3:]
    inside = Path(path).is_relative_to(loader.image_root)
    return ((Path(path).relative_to(loader.image_root) if inside else Path(path)).as_posix(),)


def write_predictions(table: pd.DataFrame, path: Path) -> None:
    """Write a table that pandas 2 (DeepLabCut's) and pandas 3 read.

    Raises:
        OutputError: it could not be written.
    """
    with whole_file(path) as partial:
        write_h5(table, partial, layout="fixed")


def check_combined(combined: Path, key: Iterable[str]) -> None:
    """Refuse a table of all results, if there is one, that has no columns for ``key``.

    Raises:
        InputError: it is something else.
    """
    _read_lines(combined, list(key))


def write_results(
    path: Path, combined: Path, key: Mapping[str, Any], figures: Mapping[str, float]
) -> None:
    """Write the figures of a snapshot to ``path``, and into the line of ``combined`` that has the
    same ``key``.

    Raises:
        InputError: ``combined`` is there and has other columns.
        OutputError: a file could not be written.
    """
    line = {name: str(value) for name, value in key.items()}
    line |= {name: _text(value) for name, value in figures.items()}
    _write_lines(path, [line])
    others = _read_lines(combined, list(key))
    same = [other for other in others if _order(other, key) == _order(line, key)]
    # A figure that this evaluation does not have stays, as in DeepLabCut.
    kept = {name: value for other in same for name, value in other.items() if not line.get(name)}
    lines = [other for other in others if other not in same] + [line | kept]
    _write_lines(combined, sorted(lines, key=lambda entry: _order(entry, key)))


def write_bodypart_errors(path: Path, errors: Mapping[str, Mapping[str, float]]) -> None:
    """Write the mean error in pixels of each bodypart, by split.

    Raises:
        OutputError: it could not be written.
    """
    rows = [
        {"": f"{split.capitalize()} error (px)"} | {name: _text(v) for name, v in by_name.items()}
        for split, by_name in errors.items()
    ]
    _write_lines(path, rows)


def _row(prediction: Prediction, unique: bool) -> np.ndarray:
    parts = [prediction["bodyparts"][..., :3].reshape(-1)]
    if unique:
        parts.append(prediction["unique_bodyparts"][..., :3].reshape(-1))
    return np.concatenate(parts)


def _index(labels: Sequence[tuple[str, ...]], names: list[str] | None = None) -> pd.Index:
    """Labels as plain objects: pandas 2 cannot read the string labels that pandas 3 makes."""
    if not labels:
        return pd.Index([], dtype=object)
    levels = [pd.Index(level, dtype=object) for level in zip(*labels, strict=True)]
    return levels[0] if len(levels) == 1 else pd.MultiIndex.from_arrays(levels, names=names)


def _text(value: float) -> str:
    return "" if np.isnan(value) else str(float(value))


def _read_lines(path: Path, key: Sequence[str]) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        lines = list(reader)
        columns = list(reader.fieldnames or [])
    if columns[: len(key)] != list(key) or any(None in line for line in lines):
        raise InputError(
            f"{path}: expected the columns {', '.join(key)} and figures, got "
            f"{', '.join(map(str, columns)) or 'none'}. Move the file away; a new one is made."
        )
    return [{name: value or "" for name, value in line.items()} for line in lines]


def _write_lines(path: Path, lines: Sequence[Mapping[str, str]]) -> None:
    columns = list(dict.fromkeys(name for line in lines for name in line))
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def _order(line: Mapping[str, str], key: Mapping[str, Any]) -> list[tuple[float, str]]:
    """Numbers by their value, before words."""
    return [_number(line[name]) for name in key]


def _number(text: str) -> tuple[float, str]:
    try:
        return float(text), ""
    except ValueError:
        return float("inf"), text

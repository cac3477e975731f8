"""Labels as DeepLabCut keeps them in ``CollectedData_<scorer>.h5`` and ``.csv``.

The rows are images, ``("labeled-data", video, file name)``; the columns are scorer / individuals /
bodyparts / coords, without the level of individuals in projects of one animal. Unique bodyparts
belong to an individual named "single". A label that is not there is NaN. Coordinates are pixels.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dlc_deploy.errors import InputError, some
from dlc_deploy.runtime.outputs.tables import UNIQUE, write_h5
from dlc_deploy.runtime.unpickling import no_pickled_code

from ..config.project import Project
from ..whole_files import whole_file
from .folders import LABELED, ProjectFolders

COORDS = ("x", "y")
_SEVERAL = ["scorer", "individuals", "bodyparts", "coords"]
_ONE = ["scorer", "bodyparts", "coords"]


def read_annotations(path: Path) -> pd.DataFrame:
    """The labels of one file, float64, with rows and columns as the module says; a column of
    likelihoods, which some labelling programs leave, is dropped.

    Raises:
        InputError: not there, damaged, or not labels of DeepLabCut.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected labels of DeepLabCut, found no such file.")
    table = _read_csv(path) if path.suffix == ".csv" else _read_h5(path)
    names = list(table.columns.names)
    if names not in (_SEVERAL, _ONE):
        raise InputError(
            f"{path}: expected columns of {', '.join(_SEVERAL)} (or without individuals), got "
            f"{', '.join(map(str, names))}. Is this the file of the labels?"
        )
    table.index = _rows(path, table.index)
    kept = table.loc[:, table.columns.get_level_values("coords").isin(COORDS)]
    try:
        return kept.astype("float64")
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: expected numbers, got: {error}. Correct the labels.") from None


def write_annotations(table: pd.DataFrame, path: Path) -> None:
    """Write labels to ``path`` (.h5) and beside it as .csv; pandas 2 and pandas 3 read both.

    Raises:
        OutputError: a file could not be written.
    """
    with whole_file(path) as partial:
        write_h5(table, partial, layout="fixed")
    with whole_file(path.with_suffix(".csv")) as partial:
        table.to_csv(partial)


def merge_annotations(folders: ProjectFolders) -> pd.DataFrame:
    """The labels of all videos of a project, sorted by image, the columns in the project's order.

    The videos are those of ``video_sets``; where none of them has labels (a project that moved from
    elsewhere, with video names of there), all folders of ``labeled-data``. An ``.h5`` counts before
    a ``.csv``.

    Raises:
        InputError: no labels, labels by another scorer or of another project, or an image twice.
    """
    root = folders.root / LABELED
    files = [path for name in folders.videos for path in _labels_in(root / name, folders.scorer)]
    if not files and root.is_dir():
        found = sorted(folder for folder in root.iterdir() if folder.is_dir())
        files = [path for folder in found for path in _labels_in(folder, folders.scorer)]
    if not files:
        raise InputError(
            f"{root}: expected folders with CollectedData_{folders.scorer}.h5 or .csv, found none. "
            "Label some images first, or correct video_sets and scorer in config.yaml."
        )
    project = folders.project
    tables = [_of_project(read_annotations(path), path, folders.scorer, project) for path in files]
    merged = pd.concat(tables).sort_index()
    _refuse_doubles(merged)
    return merged


def columns_of(project: Project, scorer: str) -> pd.MultiIndex:
    """The columns of a project's labels."""
    columns = [
        (scorer, individual, bodypart, coord)
        for individual in project.individuals
        for bodypart in project.bodyparts
        for coord in COORDS
    ]
    columns += [
        (scorer, UNIQUE, bodypart, coord)
        for bodypart in project.unique_bodyparts
        for coord in COORDS
    ]
    if project.multi_animal:
        return _index(columns, _SEVERAL)
    single = project.individuals[0]
    return _index([(a, c, d) for a, b, c, d in columns if b == single], _ONE)


def _labels_in(folder: Path, scorer: str) -> list[Path]:
    """The file of labels in a folder, if there is one."""
    files = [folder / f"CollectedData_{scorer}{suffix}" for suffix in (".h5", ".csv")]
    return [path for path in files if path.is_file()][:1]


def _of_project(table: pd.DataFrame, path: Path, scorer: str, project: Project) -> pd.DataFrame:
    """The columns of the project; what it does not name (any more) is left out."""
    found = [str(name) for name in table.columns.unique("scorer")]
    if found != [scorer]:
        raise InputError(
            f"{path}: expected labels by {scorer}, the scorer of the project, got "
            f"{', '.join(found)}. Rename the scorer in the file, or in config.yaml."
        )
    several = "individuals" in table.columns.names
    if several != project.multi_animal:
        kinds = ("one animal", "several animals")
        raise InputError(
            f"{path}: expected labels of {kinds[project.multi_animal]}, as multianimalproject in "
            f"config.yaml says, got labels of {kinds[several]}. Convert the labels, or correct it."
        )
    if several:
        _refuse_strangers(table, path, project)
    return pd.DataFrame(
        table.reindex(columns=columns_of(project, scorer)).to_numpy("float64"),
        index=table.index,
        columns=columns_of(project, scorer),
    )


def _refuse_strangers(table: pd.DataFrame, path: Path, project: Project) -> None:
    """An animal that the project does not name would be taken for background."""
    known = {*project.individuals, UNIQUE}
    labelled = table.loc[:, table.notna().any()]
    strangers = [str(n) for n in labelled.columns.unique("individuals") if n not in known]
    if strangers:
        raise InputError(
            f"{path}: expected labels of {', '.join(project.individuals)}, got {some(strangers)} "
            "too. Add the names to individuals in config.yaml, or remove these labels."
        )


def _refuse_doubles(table: pd.DataFrame) -> None:
    """An image that is there twice could be trained on and tested with."""
    twice = table.index[table.index.duplicated()]
    if len(twice):
        raise InputError(
            f"{some(['/'.join(row) for row in twice])}: expected each image once, got labels "
            "twice. Remove one of the rows from the labels."
        )


def _read_h5(path: Path) -> pd.DataFrame:
    try:
        with no_pickled_code():
            table = pd.read_hdf(path)
    except InputError as error:
        raise InputError(f"{path}: expected labels of DeepLabCut, but {error}") from None
    except Exception as error:  # PyTables and pandas raise many unrelated types.
        raise InputError(
            f"{path}: expected labels of DeepLabCut, but it cannot be read ({error}). "
            "Copy it again, or remove it where there is a .csv beside it."
        ) from error
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"{path}: expected a table of labels, got a {type(table).__name__}.")
    return table


def _read_csv(path: Path) -> pd.DataFrame:
    """Three or four lines of header; the image is in one cell, or in three."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [line for line in csv.reader(file) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected labels as text, got: {error}.") from None
    starts = [line[0] for line in lines[: len(_SEVERAL)]]
    names = _SEVERAL if starts == _SEVERAL else _ONE
    if starts[: len(names)] != names:
        raise InputError(
            f"{path}: expected lines that start with {', '.join(_SEVERAL)} (or without "
            f"individuals), got {', '.join(starts)}. Is this the file of the labels?"
        )
    header, body = lines[: len(names)], lines[len(names) :]
    rows = 3 if header[0][1:3] == ["", ""] else 1
    if any(len(line) != len(header[0]) for line in lines):
        raise InputError(f"{path}: expected {len(header[0])} cells in every line. Correct it.")
    columns = _index(list(zip(*(line[rows:] for line in header), strict=True)), names)
    index = ["/".join(line[:rows]) for line in body]
    values = [[_number(path, cell) for cell in line[rows:]] for line in body]
    return pd.DataFrame(values, index=pd.Index(index, dtype=object), columns=columns)


def _number(path: Path, cell: str) -> float:
    try:
        return float(cell or "nan")
    except ValueError:
        raise InputError(f"{path}: expected numbers, got {cell!r}. Correct the labels.") from None


def _rows(path: Path, index: pd.Index) -> pd.MultiIndex:
    """The last three parts of each image's path; projects also come from Windows."""
    rows = [
        "/".join(map(str, row)) if isinstance(row, tuple) else str(row) for row in index.to_list()
    ]
    parts = [tuple(row.replace("\\", "/").split("/"))[-3:] for row in rows]
    if any(len(row) != 3 for row in parts):
        raise InputError(
            f"{path}: expected images such as {LABELED}/video/img0001.png, got {some(rows)}."
        )
    return _index(parts, [None, None, None])


def _index(rows: Sequence[tuple[str, ...]], names: list[str] | list[None]) -> pd.MultiIndex:
    """Labels as plain objects: pandas 2 cannot read the string labels that pandas 3 makes."""
    levels = [pd.Index([row[level] for row in rows], dtype=object) for level in range(len(names))]
    return pd.MultiIndex.from_arrays(levels, names=list(names))

"""DeepLabCut's ``.h5`` and ``.csv``: one row a frame, columns scorer / individuals / bodyparts /
coords (deeplabcut's apis/videos.py, create_df_from_prediction)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

import pandas as pd

from .track import Float, Track, is_multi_animal

KEY = "df_with_missing"
COORDS = ("x", "y", "likelihood")
UNIQUE = "single"
_LAYOUT_VERSION = "0.15.2"


def to_dataframe(track: Track) -> pd.DataFrame:
    """Float32 columns, int64 frame numbers as an index without a name.

    The level of individuals is there in multi-animal projects only; unique bodyparts follow the
    animals, as an individual named "single". More animals than the project names, which a model
    may look for, are in the pickles only.
    """
    scorer, bodyparts = track.manifest.scorer, track.manifest.bodyparts
    names = ["scorer", "individuals", "bodyparts", "coords"]
    levels = [[scorer], list(track.individuals), list(bodyparts), list(COORDS)]
    if not is_multi_animal(track.manifest):
        del names[1], levels[1]
    index = range(track.start, track.start + len(track))
    named = track.bodyparts()[:, : len(track.individuals)]
    frame = _table(named, _columns(levels, names), index)
    unique = track.unique_bodyparts()
    if unique is None:
        return frame
    levels = [[scorer], [UNIQUE], list(track.manifest.unique_bodyparts), list(COORDS)]
    return frame.join(_table(unique, _columns(levels, names), index), how="outer")


def write_h5(table: pd.DataFrame, path: Path, layout: Literal["table", "fixed"] = "table") -> None:
    """Write a table that pandas 2 (DeepLabCut's) and pandas 3 read.

    Args:
        table: what is written.
        path: where to.
        layout: of PyTables; DeepLabCut has ``table`` for videos, ``fixed`` for labelled images.
    """
    with pd.HDFStore(path, mode="w") as store:
        store.put(KEY, table, format=layout, nan_rep="nan", track_times=False)
        # Pandas 3.1 no longer marks the layout's version, and pandas 2 takes what bears no mark
        # for a table of before 0.12.
        cast(Any, store).get_storer(KEY).attrs.pandas_version = _LAYOUT_VERSION


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as text."""
    table.to_csv(path)


def _table(values: Float, columns: pd.MultiIndex, index: range) -> pd.DataFrame:
    return pd.DataFrame(
        values.reshape(len(index), -1),
        columns=columns,
        index=pd.Index(index, dtype="int64"),
    )


def _columns(levels: list[list[str]], names: list[str]) -> pd.MultiIndex:
    """Labels as plain objects: pandas 2 cannot read the string labels that pandas 3 makes."""
    return pd.MultiIndex.from_product(
        [pd.Index(level, dtype=object) for level in levels], names=names
    )

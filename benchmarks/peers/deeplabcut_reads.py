"""Whether DeepLabCut reads our results as its own; run by the Python in which it is installed.

    .venv-deeplabcut/bin/python benchmarks/peers/deeplabcut_reads.py OURS.h5 DEEPLABCUTS.h5

Both files are read with the pandas of that environment, and ours with DeepLabCut's own loaders.
Standard output is one line, a JSON object:

    layout       by name, whether ours equals DeepLabCut's: columns, their names, dtypes, index
    frames       rows that both files have; the positions are compared on these
    above        by score that both have reached: count of keypoints, spread of DeepLabCut's
                 positions, and median, 99th percentile and largest distance, all in pixels
    score        largest difference of a score
    missing      keypoints that are missing (NaN or negative score) in one file alone
    loaders      by function, what it said of our file: a shape, or why it failed
    versions

The exit status is 0 when the layout is equal and load_analyzed_data takes our file, otherwise 3.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

THRESHOLDS = (0.05, 0.3, 0.6)
DIFFERENT = 3


def main() -> int:
    """Compare and print."""
    parser = argparse.ArgumentParser(description="Whether DeepLabCut reads our results as its own.")
    parser.add_argument("ours", type=Path, help="an .h5 that dlc-analyze wrote")
    parser.add_argument("theirs", type=Path, help="an .h5 that DeepLabCut wrote of the same video")
    arguments = parser.parse_args()
    ours, theirs = (_read(path) for path in (arguments.ours, arguments.theirs))
    report = {"layout": _compare_layout(ours, theirs), **_compare_values(ours, theirs)}
    with redirect_stdout(sys.stderr):
        report["loaders"] = _try_loaders(arguments.ours, ours)
    report["versions"] = {name: version(name) for name in ("deeplabcut", "pandas", "tables")}
    print(json.dumps(report))
    read = "shape" in report["loaders"]["load_analyzed_data"]
    return 0 if all(report["layout"].values()) and read else DIFFERENT


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise SystemExit(f"Expected an .h5 file with poses, found no {path}.")
    try:
        table = pd.read_hdf(path, key="df_with_missing")
    except Exception as error:  # pandas fails in many ways on what it does not understand
        raise SystemExit(
            f"{path.name}: expected a table that pandas {pd.__version__} reads, "
            f"got {type(error).__name__}: {error}."
        ) from None
    return pd.DataFrame(table)


def _compare_layout(ours: pd.DataFrame, theirs: pd.DataFrame) -> dict[str, bool]:
    types = [list(map(type, frame.columns[0])) for frame in (ours, theirs)]
    return {
        "columns": ours.columns.equals(theirs.columns),
        "column_names": list(ours.columns.names) == list(theirs.columns.names),
        "column_types": types[0] == types[1],
        "dtypes": list(ours.dtypes) == list(theirs.dtypes),
        "index": ours.index.equals(theirs.index),
        "index_dtype": ours.index.dtype == theirs.index.dtype,
        "index_name": ours.index.name == theirs.index.name,
    }


def _compare_values(ours: pd.DataFrame, theirs: pd.DataFrame) -> dict[str, Any]:
    """Rows and columns are matched by frame number and place; scorers may differ."""
    if ours.shape[1] != theirs.shape[1]:
        raise SystemExit(
            f"Expected as many columns as DeepLabCut's {theirs.shape[1]}, got {ours.shape[1]}: "
            "these are results of different models."
        )
    rows = ours.index.intersection(theirs.index)
    mine, reference = (
        frame.loc[rows].to_numpy(np.float64).reshape(len(rows), -1, 3) for frame in (ours, theirs)
    )
    gone = [np.isnan(poses).any(2) | (poses[..., 2] < 0) for poses in (mine, reference)]
    both = ~gone[0] & ~gone[1]
    distance = np.hypot(*np.moveaxis(mine[..., :2] - reference[..., :2], -1, 0))
    score = np.where(both, np.fmin(mine[..., 2], reference[..., 2]), -1)
    return {
        "frames": len(rows),
        "above": {
            str(threshold): _summary(distance, reference[..., :2], score >= threshold)
            for threshold in THRESHOLDS
        },
        "score": float(np.abs(mine - reference)[..., 2][both].max(initial=0)),
        "missing": int((gone[0] != gone[1]).sum()),
    }


def _summary(distance: Any, positions: Any, chosen: Any) -> dict[str, float]:
    values = distance[chosen]
    if not len(values):
        return {"count": 0}
    return {
        "count": len(values),
        "spread": round(float(positions[chosen].std(axis=0).min()), 3),
        "median": float(np.median(values)),
        "p99": float(np.percentile(values, 99)),
        "max": float(values.max()),
    }


def _try_loaders(path: Path, frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """What DeepLabCut's plots, filters and labelled videos load results with."""
    single = import_module("deeplabcut.utils.auxiliaryfunctions")
    multi = import_module("deeplabcut.utils.auxfun_multianimal")
    scorer = str(frame.columns.get_level_values("scorer")[0])
    video = path.stem.removesuffix(scorer)

    def analyzed() -> dict[str, Any]:
        loaded, found, *_ = single.load_analyzed_data(path.parent, video, scorer)
        if Path(found).resolve() != path.resolve():
            raise FileNotFoundError(f"it found {found} instead")
        return {"shape": list(loaded.shape), "equal": bool(loaded.equals(frame))}

    def full() -> dict[str, Any]:
        data, metadata = multi.LoadFullMultiAnimalData(path)
        return {"entries": len(data), "metadata": sorted(metadata)}

    loaders: dict[str, Callable[[], dict[str, Any]]] = {
        "load_analyzed_data": analyzed,
        "LoadFullMultiAnimalData": full,
    }
    return {name: _attempt(load) for name, load in loaders.items()}


def _attempt(load: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return load()
    except Exception as error:  # whatever the loader raises is the answer to the question
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    sys.exit(main())

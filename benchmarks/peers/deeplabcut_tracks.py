"""Whether DeepLabCut tracks the animals in our results; run by the Python in which it is installed.

    .venv-deeplabcut/bin/python benchmarks/peers/deeplabcut_tracks.py PROJECT VIDEO RESULTS

PROJECT is the folder of the DeepLabCut project (with its config.yaml and the model's folder) and
RESULTS the one in which dlc-analyze left ``_full.pickle``, ``_assemblies.pickle`` and
``_meta.pickle`` of VIDEO. DeepLabCut's ``convert_detections2tracklets`` and ``stitch_tracklets``
write their ``_el.pickle`` and ``_el.h5`` beside them. Standard output is one line, a JSON object:

    scorer       under which DeepLabCut looked for the results
    tracklets    how many pieces there were before they were stitched
    tracks       by individual, the frames in which it has a keypoint
    h5           the file with the tracks
    versions

The exit status is 0 when every individual of the project has a track, otherwise 3.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
from contextlib import redirect_stdout
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

INCOMPLETE = 3
METHODS = {"ellipse": "el", "box": "bx", "skeleton": "sk"}


def main() -> int:
    """Track and print."""
    parser = argparse.ArgumentParser(description="Whether DeepLabCut tracks from our results.")
    parser.add_argument("project", type=Path, help="folder of the DeepLabCut project")
    parser.add_argument("video", type=Path, help="the video that was analysed")
    parser.add_argument("results", type=Path, help="folder with the results of dlc-analyze")
    parser.add_argument("--shuffle", type=int, default=1, help="shuffle of the model (default: 1)")
    parser.add_argument("--method", choices=METHODS, default="ellipse", help="(default: ellipse)")
    arguments = parser.parse_args()
    config = arguments.project / "config.yaml"
    if not config.is_file():
        raise SystemExit(f"Expected a DeepLabCut project, found no {config}.")
    with redirect_stdout(sys.stderr):
        scorer = _track(config, arguments)
    report = _report(arguments, scorer)
    print(json.dumps(report))
    names = {name for name in _project(config)["individuals"] if report["tracks"].get(name)}
    return 0 if names == set(_project(config)["individuals"]) else INCOMPLETE


def _track(config: Path, arguments: argparse.Namespace) -> str:
    """Run both functions; the scorer of the project's model."""
    apis = import_module("deeplabcut.pose_estimation_pytorch.apis.tracklets")
    stitching = import_module("deeplabcut.refine_training_dataset.stitch")
    engine = import_module("deeplabcut.core.engine").Engine.PYTORCH
    cfg, shuffle, method = _project(config), arguments.shuffle, arguments.method
    where = {"shuffle": shuffle, "track_method": method, "destfolder": str(arguments.results)}
    videos = [str(arguments.video)]
    apis.convert_detections2tracklets(str(config), videos, overwrite=True, **where)
    stitching.stitch_tracklets(str(config), videos, engine=engine, **where)
    names = import_module("deeplabcut.utils.auxiliaryfunctions")
    fraction = cfg["TrainingFraction"][0]
    return str(names.get_scorer_name(cfg, shuffle, fraction, engine=engine)[0])


def _project(config: Path) -> Any:
    return import_module("deeplabcut.utils.auxiliaryfunctions").read_config(str(config))


def _report(arguments: argparse.Namespace, scorer: str) -> dict[str, Any]:
    base = f"{arguments.video.stem}{scorer}_{METHODS[arguments.method]}"
    h5, pieces = (arguments.results / f"{base}{suffix}" for suffix in (".h5", ".pickle"))
    if not h5.is_file():
        raise SystemExit(f"DeepLabCut made no {h5.name}; what it said is above.")
    tracklets = pickle.loads(pieces.read_bytes())
    table = pd.DataFrame(pd.read_hdf(h5))
    found = table.droplevel("scorer", axis=1).notna().T.groupby("individuals", sort=False).any()
    return {
        "scorer": scorer,
        "tracklets": len([key for key in tracklets if key not in ("header", "single")]),
        "tracks": {str(name): int(row.sum()) for name, row in found.iterrows()},
        "h5": h5.name,
        "versions": {name: version(name) for name in ("deeplabcut", "filterpy", "pandas")},
    }


if __name__ == "__main__":
    sys.exit(main())

"""DeepLabCut's ``_meta.pickle``: what was analysed, and how (deeplabcut's apis/videos.py,
_generate_metadata).

Its tracking and its plots look up scorer, cropping and frame numbers here. Unlike the file that
DeepLabCut 3.0.2 writes, this one holds plain Python values only, so that it can be read without
deeplabcut.
"""

from __future__ import annotations

import pickle
import time
from pathlib import Path
from typing import Any

from .report import RunReport
from .track import Track


def meta(track: Track, report: RunReport) -> dict[str, Any]:
    """The content of ``_meta.pickle``; "pytorch-config" has the parts of it that a bundle knows."""
    manifest, video = track.manifest, report.video
    stop = time.time()
    names = {
        "individuals": list(manifest.individuals),
        "bodyparts": list(manifest.bodyparts),
        "unique_bodyparts": list(manifest.unique_bodyparts),
    }
    config = {
        "net_type": manifest.net_type,
        "method": manifest.method,
        "metadata": names | {"with_identity": manifest.pose.identity},
    }
    return {
        "data": {
            "start": stop - report.wall_seconds,
            "stop": stop,
            "run_duration": report.wall_seconds,
            "Scorer": manifest.scorer,
            "pytorch-config": config,
            "fps": video.fps,
            "batch_size": report.batch,
            "frame_dimensions": (video.width, video.height),
            "nframes": track.start + len(track),
            "iteration (active-learning)": manifest.origin.iteration,
            "training set fraction": manifest.origin.train_fraction,
            "cropping": False,
            "cropping_parameters": [0, video.width, 0, video.height],
        }
        | names
    }


def write_meta(track: Track, report: RunReport, path: Path) -> None:
    """Write ``_meta.pickle``."""
    with path.open("wb") as file:
        pickle.dump(meta(track, report), file, pickle.HIGHEST_PROTOCOL)

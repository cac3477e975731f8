"""The name DeepLabCut gives to results of a model: it is part of every file's name.

    DLC_<Net>_<Task><date>shuffle<n>_[detector_<uid>_]snapshot_<uid>

with the uid an epoch, or ``best-<epoch>`` (deeplabcut's apis/utils.py, get_scorer_name).
"""

from __future__ import annotations

import re
from pathlib import Path

from dlc_deploy.manifest import Origin

_MODEL_FOLDER = re.compile(r"(?P<name>.+)-trainset(?P<percent>\d+)shuffle(?P<shuffle>\d+)")
_DATE = re.compile(r"(?P<task>.+?)(?P<date>[A-Z][a-z]{2}\d{1,2})")
_UID = re.compile(r".*?-(?P<best>best-)?(?P<epoch>\d+)")
_UNSAFE = re.compile(r"[^A-Za-z0-9.\-]+")


def origin_of(snapshot: Path, detector: Path | None) -> Origin:
    """Where a snapshot comes from, read off DeepLabCut's folder names.

    ``dlc-models-pytorch/iteration-<i>/<Task><date>-trainset<percent>shuffle<n>/train/<snapshot>``;
    a snapshot that lies elsewhere has the name of its folder as task.
    """
    origin = Origin(snapshot=snapshot.name, detector_snapshot=detector.name if detector else None)
    parents = snapshot.resolve().parents
    folder = _MODEL_FOLDER.fullmatch(parents[1].name) if len(parents) > 1 else None
    if folder is None:
        return origin.model_copy(update={"task": parents[0].name or None})
    dated = _DATE.fullmatch(folder["name"])
    iteration = re.fullmatch(r"iteration-(\d+)", parents[2].name) if len(parents) > 2 else None
    return origin.model_copy(
        update={
            "task": dated["task"] if dated else folder["name"],
            "date": dated["date"] if dated else None,
            "iteration": int(iteration[1]) if iteration else None,
            "shuffle": int(folder["shuffle"]),
            "train_fraction": int(folder["percent"]) / 100,
        }
    )


def scorer_name(net_type: str, origin: Origin) -> str:
    """DeepLabCut's name for results of this model."""
    net = "".join(part.capitalize() for part in net_type.split("_"))
    project = _UNSAFE.sub("-", origin.task or "model")
    if origin.shuffle is not None:  # a project of DeepLabCut's, which changes nothing in its name
        project = f"{origin.task}{origin.date or ''}shuffle{origin.shuffle}"
    detector = f"detector_{_uid(origin.detector_snapshot)}_" if origin.detector_snapshot else ""
    return f"DLC_{net}_{project}_{detector}snapshot_{_uid(origin.snapshot)}"


def _uid(snapshot: str) -> str:
    """``snapshot-best-050.pt`` is best-50; a name without an epoch stands for itself."""
    stem = Path(snapshot).stem
    found = _UID.fullmatch(stem)
    return f"{found['best'] or ''}{int(found['epoch'])}" if found else _UNSAFE.sub("-", stem)

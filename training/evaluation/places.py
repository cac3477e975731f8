"""Where results of an evaluation lie, and what DeepLabCut calls them."""

from __future__ import annotations

from pathlib import Path

from dlc_deploy.manifest import Origin
from dlc_deploy.runtime.outputs.scorer import scorer_name

from ..data.base import Loader
from ..data.dlcloader import DLCLoader
from ..data.snapshots import Snapshot
from ..projects.folders import RESULTS


def results_folder(loader: Loader) -> Path:
    """The folder of a model's results; it may not be there yet.

    In a DeepLabCut project DeepLabCut's own; in a COCO folder
    ``evaluation-results-pytorch/<folders of the model>``, without a last ``train``.
    """
    if isinstance(loader, DLCLoader):
        return loader.evaluation_folder
    return loader.project_root / RESULTS / model_name(loader)


def model_name(loader: Loader) -> str:
    """A name of the model in its project: its folders, joined."""
    root, folder = loader.project_root.resolve(), loader.model_folder.resolve()
    inside = folder.relative_to(root) if folder.is_relative_to(root) else Path(folder.name)
    parts = inside.parts[:-1] if len(inside.parts) > 1 and folder.name == "train" else inside.parts
    return "-".join(parts) or root.name


def scorer_of(loader: Loader, snapshot: Snapshot, detector: Snapshot | None = None) -> str:
    """The name of results of ``snapshot``: with the number of its shuffle, or in a COCO folder
    with the name of the model."""
    origin = Origin(
        snapshot=snapshot.path.name, detector_snapshot=detector.path.name if detector else None
    )
    if isinstance(loader, DLCLoader):
        folders = loader.folders
        of = {"task": folders.task, "date": folders.date, "shuffle": loader.shuffle}
    else:
        of = {"task": model_name(loader)}
    return scorer_name(str(loader.model_cfg["net_type"]), origin.model_copy(update=of))

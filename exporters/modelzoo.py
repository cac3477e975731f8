"""SuperAnimal models of DeepLabCut's model zoo, named instead of given as files.

    modelzoo:DATASET[/POSE_MODEL[+DETECTOR]]
    modelzoo:superanimal_quadruped
    modelzoo:superanimal_quadruped/hrnet_w32+fasterrcnn_resnet50_fpn_v2

dlclibrary knows which models there are and downloads them (from Hugging Face), torchvision the
detectors of people; a file is kept in the user's cache folder, and not downloaded again.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any

from dlc_deploy.errors import UnavailableError, UsageError
from dlc_deploy.training.config.superanimal import (
    HUMAN_DETECTORS,
    HUMANS,
    POSE_MODELS,
    superanimal_config,
)

PREFIX = "modelzoo:"
SYNTAX = f"{PREFIX}DATASET[/POSE_MODEL[+DETECTOR]]"
INDIVIDUALS = 10
"""Animals in a frame; DeepLabCut's default for these models."""

_NAME = re.compile(r"(?P<dataset>[^/+]+)(/(?P<pose_model>[^/+]+)(\+(?P<detector>[^/+]+))?)?")
_ANIMAL_DETECTORS = (
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "ssdlite",
)
_FOREIGN_FILES = {"superanimal_humanbody_rtmpose_x": "rtmpose-x_simcc-body7.pt"}
"""Models whose files have another name where they are downloaded from."""


@dataclass(frozen=True, slots=True)
class ZooModel:
    """A pose model and a detector of the zoo, on this machine.

    Attributes:
        scorer: the name DeepLabCut gives to results of these models (its modelzoo/utils.py,
            get_super_animal_scorer).
        config: what ``PoseConfig.from_mapping`` takes.
    """

    scorer: str
    snapshot: Path
    detector: Path
    config: dict[str, Any]


def is_zoo_name(snapshot: PurePath) -> bool:
    """Whether what stands where a snapshot is expected names a model of the zoo."""
    return str(snapshot).startswith(PREFIX)


def folder_name(name: PurePath) -> str:
    """What a bundle of this model is called where nobody says."""
    return re.sub(r"[/+]", "_", name.as_posix().removeprefix(PREFIX))


def fetch(name: PurePath) -> ZooModel:
    """The files of a model, downloaded where they are not in the cache, and its configuration.

    Args:
        name: see the top of this file. Without a detector or a pose model, DeepLabCut's own choice
            for the dataset.

    Raises:
        UsageError: no such model; the message lists those that there are.
        UnavailableError: dlclibrary is not installed, or the download failed.
    """
    library = _dlclibrary()
    dataset, pose_model, detector = resolve(library, name.as_posix())
    return ZooModel(
        f"{dataset}_{pose_model}_{detector}",
        _snapshot(library, dataset, pose_model),
        _snapshot(library, dataset, detector),
        superanimal_config(dataset, pose_model, detector, INDIVIDUALS),
    )


def cache_folder() -> Path:
    """Where downloaded models are kept."""
    home = Path.home()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or home / ".cache"
    return Path(base) / "dlc-deploy" / "modelzoo"


def _dlclibrary() -> ModuleType:
    try:
        import dlclibrary
    except ModuleNotFoundError as error:
        raise UnavailableError(
            f"Models of the zoo need {error.name}, which is not installed. "
            "Install it: pip install 'dlc-deploy[modelzoo]'."
        ) from error
    module: ModuleType = dlclibrary
    return module


def resolve(library: ModuleType, name: str) -> tuple[str, str, str]:
    """Dataset, pose model and detector that a name stands for, all of which there are.

    Raises:
        UsageError: no such model; the message lists those that there are.
    """
    catalogue = _catalogue(library)
    found = _NAME.fullmatch(name.removeprefix(PREFIX))
    if found is None or found["dataset"] not in catalogue:
        raise UsageError(f"{name}: expected {SYNTAX}, with one of\n{_listed(catalogue)}")
    chosen = []
    for part, known in zip(("pose_model", "detector"), catalogue[found["dataset"]], strict=True):
        if found[part] is not None and found[part] not in known:
            raise UsageError(
                f"{name}: no {part.replace('_', ' ')} {found[part]!r}; expected {SYNTAX}, with "
                f"one of\n{_listed(catalogue)}"
            )
        chosen.append(found[part] or known[0])
    return found["dataset"], chosen[0], chosen[1]


def _catalogue(library: ModuleType) -> dict[str, tuple[list[str], list[str]]]:
    """Pose models and detectors of each dataset that can be exported, the default ones first."""
    known = {}
    for dataset in library.get_available_datasets():
        available = library.get_available_models(dataset)
        poses = [name for name in POSE_MODELS if name in available]
        available = library.get_available_detectors(dataset)
        detectors = [name for name in _ANIMAL_DETECTORS if name in available]
        if dataset == HUMANS:
            detectors = list(HUMAN_DETECTORS)
        if poses and detectors:
            known[dataset] = (poses, detectors)
    return known


def _listed(catalogue: dict[str, tuple[list[str], list[str]]]) -> str:
    return "\n".join(
        f"  {dataset}/({' | '.join(poses)})+({' | '.join(detectors)})"
        for dataset, (poses, detectors) in catalogue.items()
    )


def _snapshot(library: ModuleType, dataset: str, model: str) -> Path:
    """A file of the cache; what was downloaded by half never has its name."""
    path = cache_folder() / dataset / f"{dataset}_{model}.pt"
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".download-") as folder:
            if dataset == HUMANS and model in HUMAN_DETECTORS:
                _download_from_torchvision(model, Path(folder) / path.name)
            else:
                _download(library, path.stem, Path(folder))
            (Path(folder) / path.name).replace(path)
    except Exception as error:  # Of the network, of Hugging Face's client, or of the disk.
        raise UnavailableError(
            f"{path.stem} could not be downloaded ({_reason(error):.200}). Check the connection, "
            f"or put the file at {path}."
        ) from error
    return path


def _reason(error: BaseException) -> str:
    """One line; the client's own words are a paragraph about caches, what it met first is not."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return next(iter(str(error).splitlines()), type(error).__name__)


def _download(library: ModuleType, name: str, folder: Path) -> None:
    """Into ``folder``; dlclibrary's words go where all progress goes."""
    options = {}
    if name in _FOREIGN_FILES:
        options["rename_mapping"] = {_FOREIGN_FILES[name]: f"{name}.pt"}
    with contextlib.redirect_stdout(sys.stderr):
        library.download_huggingface_model(name, target_dir=str(folder), **options)


def _download_from_torchvision(variant: str, target: Path) -> None:
    """A detector with torchvision's weights of COCO, written as a snapshot of ours."""
    from torchvision.models import get_model_weights

    from dlc_deploy.training.models.detectors import CocoPersonDetector
    from dlc_deploy.training.snapshots import save_snapshot

    detector = CocoPersonDetector(variant=variant)
    weights = get_model_weights(variant)["COCO_V1"].get_state_dict(progress=False, check_hash=True)
    detector.model.load_state_dict(weights)
    save_snapshot(target, {"model": detector.state_dict()})

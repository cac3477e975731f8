"""Poses of labelled images for a conditional top-down model to refine, read from files.

``inference.conditions`` of the model's configuration names a file, or a shuffle whose evaluation
wrote one (deeplabcut's ``apis/ctd.py`` and ``data/ctd.py``):

- ``.h5``: DeepLabCut's table of predictions, rows named by image;
- ``.json``: ``{"labeled-data/video/img0.png": [[[x, y, score], ...], ...], ...}``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlc_deploy.errors import ConfigError, InputError
from dlc_deploy.runtime.outputs.tables import UNIQUE
from dlc_deploy.runtime.unpickling import no_pickled_code

from ..data.base import Loader
from ..data.dlcloader import DLCLoader
from ..data.snapshots import Snapshot
from ..task import Task
from .places import results_folder, scorer_of
from .snapshots import choose_snapshots

Conditions = NDArray[np.float64]
_COORDS = ["x", "y", "likelihood"]
_log = logging.getLogger(__name__)


def conditions_of_images(loader: Loader, images: Sequence[str]) -> dict[str, Conditions]:
    """The conditions of each image, by its path.

    Returns:
        Float64 [C, K, 3]; x and y in pixels, score; zeros where a keypoint is missing. Images that
        the file does not know have none; how many they are is logged.

    Raises:
        ConfigError: the configuration names no conditions that an evaluation can read.
        InputError: a file that is not there, damaged, or of other bodyparts.
    """
    path = conditions_file(loader)
    bodyparts = loader.get_dataset_parameters().bodyparts
    known = _read(path, bodyparts)
    absolute = {str(loader.image_root / name): poses for name, poses in known.items()}
    nothing = np.zeros((0, len(bodyparts), 3))
    missing = [image for image in images if image not in known and image not in absolute]
    if len(missing) == len(images) and images:
        raise InputError(
            f"{path}: expected conditions for the labelled images, such as {images[0]}, found none "
            "for any of them. Evaluate the model that makes them on this project."
        )
    if missing:
        _log.warning("%s: no conditions for %d images: %s", path, len(missing), missing[0])
    return {image: known.get(image, absolute.get(image, nothing)) for image in images}


def conditions_file(loader: Loader) -> Path:
    """The file that ``inference.conditions`` names.

    Raises:
        ConfigError: nothing there that an evaluation can read.
        InputError: the file, the shuffle or its snapshot is missing.
    """
    named = (loader.model_cfg.get("inference") or {}).get("conditions")
    section = {"filepath": named} if isinstance(named, str | Path) else named
    if not isinstance(section, Mapping) or not {"filepath", "shuffle"} & section.keys():
        raise ConfigError(
            f"{loader.model_config_path}: inference.conditions: expected a file (.h5, .json) or a "
            f"shuffle for the evaluation of a conditional model, got {named!r}. Set for example "
            "'conditions: {shuffle: 1, snapshot_index: -1}'."
        )
    if section.get("filepath"):
        given = Path(section["filepath"])
        path = given if given.is_absolute() else loader.project_root / given
        wanted = "give the path of a file that is there"
    else:
        path = _file_of_shuffle(loader, section)
        wanted = f"evaluate shuffle {section['shuffle']} first"
    if not path.is_file():
        raise InputError(
            f"{path}: expected the conditions that {loader.model_config_path} names, found no such "
            f"file: {wanted}, or correct inference.conditions."
        )
    return path


def _file_of_shuffle(loader: Loader, section: Mapping[str, Any]) -> Path:
    """The predictions that the evaluation of a bottom-up shuffle wrote."""
    config = section.get("config")
    if config is None and not isinstance(loader, DLCLoader):
        raise ConfigError(
            f"{loader.model_config_path}: inference.conditions: expected 'config', the config.yaml "
            "of the project that the shuffle is of; got none. Add it."
        )
    maker = DLCLoader(
        config or loader.project_root,
        trainset_index=section.get("trainset_index") or 0,
        shuffle=section["shuffle"],
        modelprefix=section.get("modelprefix") or "",
    )
    if maker.pose_task is not Task.BOTTOM_UP:
        raise ConfigError(
            f"{loader.model_config_path}: inference.conditions: expected a bottom-up shuffle, got "
            f"shuffle {section['shuffle']}, of method {maker.pose_task.aliases[0]}."
        )
    snapshot = _snapshot(maker, section.get("snapshot"), section.get("snapshot_index"))
    return results_folder(maker) / f"{scorer_of(maker, snapshot)}.h5"


def _snapshot(maker: Loader, name: str | None, index: int | None) -> Snapshot:
    if name is not None:
        return Snapshot.from_path(maker.model_folder / name)
    return choose_snapshots(maker, -1 if index is None else index)[0]


def _read(path: Path, bodyparts: list[str]) -> dict[str, Conditions]:
    readers = {".h5": _read_h5, ".json": _read_json}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: expected conditions of images as .h5 or .json.")
    try:
        return reader(path, bodyparts)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # pandas and PyTables raise many unrelated types
        raise InputError(f"{path}: expected conditions, got a damaged file: {error}.") from error


def _read_h5(path: Path, bodyparts: list[str]) -> dict[str, Conditions]:
    with no_pickled_code():
        table = pd.read_hdf(path)
    if not isinstance(table, pd.DataFrame) or "bodyparts" not in table.columns.names:
        raise InputError("expected DeepLabCut's table of predictions, got something else.")
    table = table.droplevel("scorer", axis="columns")
    found = list(table.columns.unique("bodyparts"))
    if not set(bodyparts) <= set(found):
        raise InputError(f"expected the model's bodyparts {bodyparts}, got {found}.")
    animals = [table]
    if "individuals" in table.columns.names:
        names = [name for name in table.columns.unique("individuals") if name != UNIQUE]
        animals = [pd.DataFrame(table[name]) for name in names]
    order = pd.MultiIndex.from_product([bodyparts, _COORDS])
    values = np.stack([animal[order].to_numpy(np.float64) for animal in animals], axis=1)
    values = values.reshape(*values.shape[:2], len(bodyparts), 3)
    return {_name(row): _present(poses) for row, poses in zip(table.index, values, strict=True)}


def _name(row: Any) -> str:
    return str(Path(*row)) if isinstance(row, tuple) else str(row)


def _present(poses: Conditions) -> Conditions:
    """Missing keypoints (NaN or negative) are zeros, animals without any are left out."""
    missing = np.any(np.isnan(poses) | (poses < 0), axis=-1)
    kept = np.where(missing[..., None], 0, poses)
    return np.asarray(kept[~missing.all(axis=-1)])


def _read_json(path: Path, bodyparts: list[str]) -> dict[str, Conditions]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise InputError(
            f"expected poses by the names of images, got a {type(content).__name__}. A list is of "
            "the frames of a video."
        )
    return {str(Path(name)): _poses(name, poses, len(bodyparts)) for name, poses in content.items()}


def _poses(image: str, poses: Any, bodyparts: int) -> Conditions:
    values = np.asarray(poses, dtype=np.float64)
    if values.size == 0:
        return np.zeros((0, bodyparts, 3))
    if values.shape[1:] != (bodyparts, 3):
        raise InputError(
            f"expected poses of {bodyparts} keypoints with x, y and score for {image}, got an "
            f"array {list(values.shape)}."
        )
    return values

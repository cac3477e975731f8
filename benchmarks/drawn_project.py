"""A DeepLabCut project of drawn mice: labelled images whose truth is known.

config = draw_project("mice", mice=2, images=8)
create_training_dataset(config, net_type="dlcrnet_stride16_ms5")
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlc_deploy.training.config import write_config

from .drawn import KEYPOINTS, Drawing, draw_animal

SCORER, VIDEO = "Painter", "mice"
_STEP = 7  # frames of the walk between two labelled images, so that poses differ


def draw_project(
    folder: str | Path, *, mice: int = 1, images: int = 8, size: int = 192, seed: int = 0
) -> Path:
    """Draw a project; each mouse has an arena of ``size`` pixels, side by side.

    Args:
        folder: where to; made.
        mice: animals in each image; a multi-animal project from two on.
        images: labelled images.
        size: height of the images, and width per mouse, in pixels.
        seed: of the first walk.

    Returns:
        The project's ``config.yaml``.
    """
    folder = Path(folder)
    walks = [draw_animal(images * _STEP, size, seed + mouse) for mouse in range(mice)]
    pictures = folder / "labeled-data" / VIDEO
    pictures.mkdir(parents=True)
    names = [f"img{number:04}.png" for number in range(images)]
    for number, name in enumerate(names):
        picture = np.concatenate([walk.frames[number * _STEP] for walk in walks], axis=1)
        cv2.imwrite(str(pictures / name), picture[..., ::-1])
    with pd.option_context("future.infer_string", False):  # readable by pandas 2 and 3
        table = _table(_keypoints(walks, size), names)
        table.to_csv(pictures / f"CollectedData_{SCORER}.csv")
        table.to_hdf(pictures / f"CollectedData_{SCORER}.h5", key="df_with_missing", mode="w")
    config = folder / "config.yaml"
    write_config(config, _project(folder, mice, size))
    return config


def _keypoints(walks: list[Drawing], size: int) -> NDArray[np.float64]:
    """[images, mice, K, 2]."""
    moved = [
        walk.keypoints[::_STEP] + np.array([mouse * size, 0]) for mouse, walk in enumerate(walks)
    ]
    return np.stack(moved, axis=1).astype(np.float64)


def _table(keypoints: NDArray[np.float64], names: list[str]) -> pd.DataFrame:
    mice = keypoints.shape[1]
    levels: list[list[str]] = [[SCORER], list(KEYPOINTS), ["x", "y"]]
    labels = ["scorer", "bodyparts", "coords"]
    if mice > 1:
        levels.insert(1, individuals(mice))
        labels.insert(1, "individuals")
    columns = pd.MultiIndex.from_product(levels, names=labels)
    index = pd.MultiIndex.from_tuples([("labeled-data", VIDEO, name) for name in names])
    return pd.DataFrame(keypoints.reshape(len(names), -1), index=index, columns=columns)


def labels_file(config: Path) -> Path:
    """The labels of a drawn project; also a file of poses for a conditional model to refine."""
    return config.parent / "labeled-data" / VIDEO / f"CollectedData_{SCORER}.h5"


def individuals(mice: int) -> list[str]:
    """Their names."""
    return [f"mouse{number + 1}" for number in range(mice)]


def _project(folder: Path, mice: int, size: int) -> dict[str, Any]:
    several = mice > 1
    animals = {
        "individuals": individuals(mice),
        "uniquebodyparts": [],
        "multianimalbodyparts": list(KEYPOINTS),
        "bodyparts": "MULTI!",
    }
    return {
        "Task": "drawn",
        "scorer": SCORER,
        "date": "Jan1",
        "multianimalproject": several,
        "identity": False,
        "project_path": str(folder.resolve()),
        "engine": "pytorch",
        "video_sets": {f"{VIDEO}.mp4": {"crop": f"0, {mice * size}, 0, {size}"}},
        **(animals if several else {"bodyparts": list(KEYPOINTS)}),
        "skeleton": [],
        "pcutoff": 0.4,
        "TrainingFraction": [0.75],
        "iteration": 0,
        "default_net_type": "resnet_50",
        "default_augmenter": "albumentations",
        "snapshotindex": -1,
        "detector_snapshotindex": -1,
        "batch_size": 4,
        "detector_batch_size": 1,
    }

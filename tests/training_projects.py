"""Drawn DeepLabCut projects and COCO folders, whole on disk, small enough to train a network on."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import yaml

from dlc_deploy.training.config import make_pytorch_pose_config

BODYPARTS = ("nose", "hip", "tail")
SCORER, TASK, DATE, VIDEO = "Ann", "dots", "Nov24", "clip"
COCO_CONFIG = Path("experiments", "train", "pytorch_config.yaml")
"""Where a COCO folder keeps the model's configuration."""
_COLORS = ((255, 60, 60), (60, 255, 60), (80, 80, 255), (255, 255, 60), (60, 255, 255))
_MARGIN = 6  # pixels between a keypoint and the edge of the image


def make_dlc_project(
    folder: Path,
    *,
    individuals: int = 1,
    bodyparts: tuple[str, ...] = BODYPARTS,
    unique: tuple[str, ...] = (),
    images: int = 6,
    size: tuple[int, int] = (96, 128),
    net_type: str = "resnet_50",
    test: int = 2,
    identity: bool = False,
    shuffle: int = 1,
    **model: Any,
) -> Path:
    """A project with one shuffle, ready for training; the path of its ``config.yaml``.

    Args:
        folder: where to; made.
        individuals: animals in each image; with several, ``unique`` or ``identity`` the project is
            multi-animal.
        size: height and width of the images.
        test: images in the test set, the others are trained on.
        model: passed to ``make_pytorch_pose_config`` (``top_down=True``, ``ctd_conditions``).
    """
    several = individuals > 1 or bool(unique) or identity
    points = draw_images(image_folder(folder), images, individuals, len(bodyparts), size)
    corners = unique_points(len(unique), size)
    config = _project_config(folder, individuals, bodyparts, unique, several, identity)
    config["TrainingFraction"] = [round((images - test) / images, 2)]
    table = label_table(points, names_of(individuals), bodyparts, unique, corners, several)
    write_labels(table, image_folder(folder))
    training_set = training_set_folder(folder)
    copy_labels(image_folder(folder), training_set)
    write_split(training_set, config, images, test, shuffle)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    percent = int(100 * config["TrainingFraction"][0])
    name = f"{TASK}{DATE}-trainset{percent}shuffle{shuffle}"
    model_path = folder / "dlc-models-pytorch" / "iteration-0" / name / "train"
    make_pytorch_pose_config(
        path, model_path / "pytorch_config.yaml", net_type=net_type, save=True, **model
    )
    return path


def make_coco_project(
    folder: Path,
    *,
    individuals: int = 1,
    bodyparts: tuple[str, ...] = BODYPARTS,
    images: int = 6,
    size: tuple[int, int] = (96, 128),
    net_type: str = "resnet_50",
    test: int = 2,
    **model: Any,
) -> Path:
    """A folder with ``annotations/train.json``, ``test.json`` (without it if ``test`` is 0),
    ``images`` and a configuration at :data:`COCO_CONFIG`; the folder."""
    points = draw_images(folder / "images", images, individuals, len(bodyparts), size)
    (folder / "annotations").mkdir(parents=True)
    last = images - test
    for name, part in (("train", range(last)), ("test", range(last, images))):
        if len(part):
            content = coco_content(points, list(part), bodyparts, size)
            (folder / "annotations" / f"{name}.json").write_text(json.dumps(content))
    project = {
        "project_path": str(folder.resolve()),
        "multianimalproject": individuals > 1,
        "bodyparts": list(bodyparts),
        "multianimalbodyparts": list(bodyparts),
        "uniquebodyparts": [],
        "individuals": names_of(individuals),
    }
    make_pytorch_pose_config(project, folder / COCO_CONFIG, net_type=net_type, save=True, **model)
    return folder


def image_folder(folder: Path) -> Path:
    """Where a project keeps its labelled images."""
    return folder / "labeled-data" / VIDEO


def training_set_folder(folder: Path) -> Path:
    """Where a project keeps its training set."""
    return folder / "training-datasets" / "iteration-0" / f"UnaugmentedDataSet_{TASK}{DATE}"


def names_of(individuals: int) -> list[str]:
    return [f"animal{number + 1}" for number in range(individuals)]


def keypoints(
    images: int, individuals: int, bodyparts: int, size: tuple[int, int], seed: int = 0
) -> np.ndarray:
    """Float64 [images, individuals, bodyparts, 2]: bent lines that each stay in one strip of the
    image, turned at random."""
    random = np.random.default_rng(seed)
    height, width = size
    strip = width / individuals
    reach = max(min(strip, height) / 2 - _MARGIN, 1)
    angles = random.uniform(0, 2 * np.pi, (images, individuals, 1))
    bend = random.uniform(-0.5, 0.5, (images, individuals, 1)) * np.arange(bodyparts)
    along = np.linspace(-1, 1, bodyparts) * reach * random.uniform(0.6, 1, angles.shape)
    middle = strip * (np.arange(individuals)[None, :, None] + 0.5)
    x = middle + along * np.cos(angles + bend)
    y = height / 2 + along * np.sin(angles + bend)
    return np.stack([x, y], axis=-1).round(2)


def unique_points(number: int, size: tuple[int, int]) -> np.ndarray:
    """Float64 [number, 2]: marks along the upper edge."""
    places = (np.arange(number) + 0.5) / max(number, 1)
    return np.stack([places * size[1], np.full(number, 4.0)], axis=-1).round(2)


def draw_images(
    folder: Path, images: int, individuals: int, bodyparts: int, size: tuple[int, int]
) -> np.ndarray:
    """Draw ``img000.png`` and so on; where the keypoints are, as :func:`keypoints` gives them."""
    folder.mkdir(parents=True)
    points = keypoints(images, individuals, bodyparts, size)
    random = np.random.default_rng(1)
    for number, animals in enumerate(points):
        picture = random.integers(20, 50, (*size, 3), dtype=np.uint8)
        for animal in animals:
            _draw_animal(picture, animal)
        cv2.imwrite(str(folder / f"img{number:03}.png"), picture[..., ::-1])
    return points


def label_table(
    points: np.ndarray,
    individuals: list[str],
    bodyparts: tuple[str, ...],
    unique: tuple[str, ...] = (),
    corners: np.ndarray | None = None,
    several: bool = False,
) -> pd.DataFrame:
    """The labels in DeepLabCut's layout; ``several``: with a level for the individuals."""
    rows = [("labeled-data", VIDEO, f"img{number:03}.png") for number in range(len(points))]
    columns = [(name, part) for name in individuals for part in bodyparts]
    columns += [("single", part) for part in unique]
    values = points.reshape(len(points), -1)
    if corners is not None and len(unique):
        values = np.hstack([values, np.tile(corners.reshape(1, -1), (len(points), 1))])
    labels = [(SCORER, name, part, axis) for name, part in columns for axis in "xy"]
    levels = ["scorer", "individuals", "bodyparts", "coords"]
    table = pd.DataFrame(values, index=row_labels(rows), columns=row_labels(labels, levels))
    return table if several else table.droplevel("individuals", axis=1)


def row_labels(tuples: list[Any], names: list[str] | None = None) -> pd.MultiIndex:
    """Labels of rows or columns as objects, which pandas 2 reads too."""
    columns = [pd.Index(column, dtype=object) for column in zip(*tuples, strict=True)]
    return pd.MultiIndex.from_arrays(columns, names=names)


def write_labels(table: pd.DataFrame, folder: Path) -> None:
    """``CollectedData_<scorer>`` as .h5 and .csv, as DeepLabCut with pandas 2 writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_hdf(folder / f"CollectedData_{SCORER}.h5", key="df_with_missing", mode="w")
    table.to_csv(folder / f"CollectedData_{SCORER}.csv")


def copy_labels(source: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in source.glob("CollectedData_*"):
        shutil.copy(path, folder)


def write_split(
    folder: Path, config: dict[str, Any], images: int, test: int, shuffle: int = 1
) -> None:
    """The documentation of a shuffle and the list of all shuffles; every image in a random half."""
    order = np.random.default_rng(2).permutation(images)
    fraction = config["TrainingFraction"][0]
    percent = int(100 * fraction)
    documentation = [[], order[test:], order[:test], fraction]
    name = f"Documentation_data-{TASK}_{percent}shuffle{shuffle}.pickle"
    (folder / name).write_bytes(pickle.dumps(documentation))
    entry = {"train_fraction": fraction, "index": shuffle, "split": 1, "engine": "pytorch"}
    shuffles = {f"{TASK}{DATE}-trainset{percent}shuffle{shuffle}": entry}
    (folder / "metadata.yaml").write_text("---\n" + yaml.safe_dump({"shuffles": shuffles}))


def coco_content(
    points: np.ndarray, part: list[int], bodyparts: tuple[str, ...], size: tuple[int, int]
) -> dict[str, Any]:
    """The annotations of the images ``part`` as COCO writes them; ids count from 1."""
    height, width = size
    images = [
        {"id": n + 1, "file_name": f"img{n:03}.png", "height": height, "width": width} for n in part
    ]
    annotations = [
        _coco_annotation(points[n, animal], n * points.shape[1] + animal + 1, n + 1, size)
        for n in part
        for animal in range(points.shape[1])
    ]
    category = {"id": 1, "name": "animal", "supercategory": "animal", "keypoints": list(bodyparts)}
    return {"images": images, "annotations": annotations, "categories": [category]}


def _coco_annotation(
    animal: np.ndarray, number: int, image: int, size: tuple[int, int]
) -> dict[str, Any]:
    low = np.maximum(animal.min(axis=0) - 5, 0)
    high = np.minimum(animal.max(axis=0) + 5, size[::-1])
    box = [float(value) for value in (*low, *(high - low))]
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "keypoints": [float(value) for x, y in animal for value in (x, y, 2)],
        "num_keypoints": len(animal),
        "bbox": box,
        "area": box[2] * box[3],
        "iscrowd": 0,
    }


def _draw_animal(picture: np.ndarray, animal: np.ndarray) -> None:
    """A thin grey line through the keypoints and a bright dot of its own colour on each."""
    line = np.rint(animal).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(picture, [line], False, (110, 110, 110), 2, cv2.LINE_AA)
    for number, (x, y) in enumerate(animal):
        color = _COLORS[number % len(_COLORS)]
        center = (round(x * 16), round(y * 16))
        cv2.circle(picture, center, 3 * 16, color, -1, cv2.LINE_AA, 4)


def _project_config(
    folder: Path,
    individuals: int,
    bodyparts: tuple[str, ...],
    unique: tuple[str, ...],
    several: bool,
    identity: bool,
) -> dict[str, Any]:
    animals: dict[str, Any] = {"bodyparts": list(bodyparts)}
    if several:
        animals = {
            "individuals": names_of(individuals),
            "uniquebodyparts": list(unique),
            "multianimalbodyparts": list(bodyparts),
            "bodyparts": "MULTI!",
        }
    return {
        "Task": TASK,
        "scorer": SCORER,
        "date": DATE,
        "multianimalproject": several,
        "identity": identity,
        "project_path": str(folder.resolve()),
        "engine": "pytorch",
        "video_sets": {f"{VIDEO}.mp4": {"crop": "0, 128, 0, 96"}},
        **animals,
        "skeleton": [],
        "pcutoff": 0.6,
        "TrainingFraction": [0.5],
        "iteration": 0,
        "default_net_type": "resnet_50",
        "default_augmenter": "albumentations",
        "snapshotindex": -1,
        "detector_snapshotindex": -1,
        "batch_size": 4,
        "detector_batch_size": 1,
    }

"""Training sets of DeepLabCut projects, as DeepLabCut 3.0.2 makes and reads them
(``create_training_dataset``), without DeepLabCut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dlc_deploy.errors import InputError, UsageError

from ..config import make_pytorch_pose_config, write_config
from ..config.net_types import TOP_DOWN
from ..config.running import Conditions
from .annotations import merge_annotations, write_annotations
from .folders import TEST_CONFIG, ProjectFolders
from .images import ImageShape, image_shapes
from .shuffles import existing_shuffles, list_shuffles, listed_shuffles, write_documentation
from .splits import Split, draw_splits, given_splits
from .test_config import inference_config, test_config
from .training_data import training_images, write_training_data

INFERENCE_CONFIG = "inference_cfg.yaml"


def create_training_dataset(
    config: str | Path | Mapping[str, Any],
    num_shuffles: int = 1,
    Shuffles: Sequence[int] | None = None,
    *,
    userfeedback: bool = True,
    trainIndices: Sequence[Iterable[int]] | None = None,
    testIndices: Sequence[Iterable[int]] | None = None,
    net_type: str | None = None,
    top_down: bool = False,
    detector_type: str | None = None,
    weight_init: Mapping[str, Any] | None = None,
    ctd_conditions: Conditions | None = None,
    seed: int | None = None,
) -> list[Split]:
    """Merge the labels of a project, split its images, and make the folders of its models.

    Nothing is written before all of it is known to be right. A shuffle is there from the moment its
    documentation is, which comes after its model. The names are DeepLabCut's.

    Args:
        config: the project's ``config.yaml``, its folder, or the file's keys and values.
        num_shuffles: how many shuffles to make, numbered after those that are there.
        Shuffles: their numbers instead.
        userfeedback: keep shuffles that are there; False replaces them, but for snapshots.
        trainIndices: for each shuffle, the rows of the merged labels to train on.
        testIndices: for each shuffle, those to test with.
        net_type: the model, by default ``default_net_type`` of the project; ``top_down_*`` names
            are top-down by themselves.
        top_down: pair a backbone such as ``resnet_50`` with a detector.
        detector_type: of a top-down model, by default SSDLite.
        weight_init: the snapshot that training starts from.
        ctd_conditions: where the poses come from that a conditional (``ctd_*``) model refines.
        seed: of the splits; those that DeepLabCut draws after ``numpy.random.seed(seed)``. By
            default they are drawn anew each time.

    Returns:
        What was made; each unpacks as (training fraction, shuffle, (train, test)).

    Raises:
        InputError: no project, labels or images that cannot be used, or a shuffle that is there.
        OutputError: a file could not be written.
    """
    folders = ProjectFolders.read(config)
    shuffles = _numbers(folders, num_shuffles, Shuffles, keep=userfeedback)
    labels = merge_annotations(folders)
    shapes = image_shapes([folders.root.joinpath(*row) for row in labels.index])
    if (trainIndices is None) != (testIndices is None):
        raise UsageError("Expected trainIndices and testIndices, got one of them. Give both.")
    if trainIndices is None or testIndices is None:
        splits = draw_splits(len(labels), folders, shuffles, seed)
    else:
        splits = given_splits(len(labels), folders, shuffles, trainIndices, testIndices)
    name = folders.project.default_net_type if net_type is None else net_type
    model = {
        "net_type": name,
        "top_down": top_down or name.startswith(TOP_DOWN),
        "detector_type": detector_type,
        "weight_init": weight_init,
        "ctd_conditions": ctd_conditions,
    }
    configs = [_pose_config(folders, split, model) for split in splits]
    listed = listed_shuffles(folders)
    write_annotations(labels, folders.collected_data)
    for split, pose_config in zip(splits, configs, strict=True):
        _write_model(folders, split, pose_config)
        _write_shuffle(folders, split, labels, shapes)
    list_shuffles(folders, listed, splits)
    return splits


def _numbers(
    folders: ProjectFolders, count: int, given: Sequence[int] | None, *, keep: bool
) -> list[int]:
    """Numbers of the shuffles to make."""
    existing = existing_shuffles(folders)
    if given is None:
        first = max(existing, default=0) + 1
        numbers = list(range(first, first + count))
    else:
        numbers = list(given)
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise UsageError(
            f"Expected at least one shuffle, numbered from 0 on, each once, got {numbers}."
        )
    there = sorted(set(numbers) & set(existing))
    if keep and there:
        raise InputError(
            f"{folders.training_set}: expected numbers of new shuffles, but {there} are there "
            f"(all: {existing}). Take other numbers, or pass userfeedback=False to replace them."
        )
    return numbers


def _pose_config(folders: ProjectFolders, split: Split, model: Mapping[str, Any]) -> dict[str, Any]:
    path = folders.pose_config(split.train_fraction, split.shuffle)
    return make_pytorch_pose_config(folders.content, path, **model)


def _write_shuffle(
    folders: ProjectFolders, split: Split, labels: pd.DataFrame, shapes: Sequence[ImageShape]
) -> None:
    """What is known of the images of a shuffle."""
    where = split.train_fraction, split.shuffle
    rows = [int(row) for row in split.indices[0]]
    images = training_images(labels, rows, shapes, folders.project)
    write_training_data(folders.training_data(*where), images)
    write_documentation(folders.documentation(*where), images, split)


def _write_model(folders: ProjectFolders, split: Split, pose_config: Mapping[str, Any]) -> None:
    """The folders in which a model is trained and tested."""
    where = split.train_fraction, split.shuffle
    test = folders.model(*where) / "test"
    write_config(folders.pose_config(*where), pose_config)
    write_config(test / TEST_CONFIG, test_config(pose_config))
    if folders.project.multi_animal:
        write_config(test / INFERENCE_CONFIG, inference_config(folders.project))

"""Poses that a model finds in the labelled images of a loader."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..data.base import Loader, Mode
from ..task import Task
from .conditions import conditions_of_images

Prediction = dict[str, NDArray[Any]]
"""What a model finds in one image, under DeepLabCut's names.

    bodyparts        float [A, K, 3 or more]; x and y in pixels of the image, score; -1 where absent
    unique_bodyparts float [1, U, 3]
    bboxes           float [A, 4]; left, top, width, height in pixels
    bbox_scores      float [A]
    identity_scores  float [A, K, individuals]
"""


class Runner(Protocol):
    """What ``get_inference_runners`` gives."""

    def inference(self, images: Iterable[Any]) -> Sequence[Mapping[str, NDArray[Any]]]:
        """Predictions of images, or of (image, context)."""
        ...


def predict(
    pose_runner: Runner, loader: Loader, mode: Mode, detector_runner: Runner | None = None
) -> dict[str, Prediction]:
    """Find poses in the images of ``mode``.

    Args:
        pose_runner: finds poses.
        loader: has the images.
        mode: ``train`` or ``test``.
        detector_runner: finds the animals of a top-down model; without one, the labelled boxes
            are taken. Conditional top-down models get the conditions that the configuration names.

    Returns:
        By the path of the image, in the order of the loader.

    Raises:
        InputError: images or conditions that cannot be used.
    """
    paths = loader.image_filenames(mode)
    if not paths:
        return {}
    contexts = _contexts(loader, mode, paths, detector_runner)
    images: list[Any] = paths if contexts is None else list(zip(paths, contexts, strict=True))
    found = pose_runner.inference(images)
    return {path: dict(one) for path, one in zip(paths, found, strict=True)}


def _contexts(
    loader: Loader, mode: Mode, paths: list[str], detector_runner: Runner | None
) -> list[Mapping[str, NDArray[Any]]] | None:
    """What a model of crops needs to know of each image; None for a bottom-up model."""
    if loader.pose_task is Task.COND_TOP_DOWN:
        conditions = conditions_of_images(loader, paths)
        return [{"cond_kpts": conditions[path]} for path in paths]
    if loader.pose_task is not Task.TOP_DOWN:
        return None
    if detector_runner is not None:
        return list(detector_runner.inference(paths))
    labeled = loader.ground_truth_bboxes(mode)
    return [{"bboxes": np.asarray(labeled[path]["bboxes"])} for path in paths]

"""Which prediction is held against which labelled animal, as DeepLabCut decides it.

The formulas are those of DeepLabCut 3.0.2 (``core/inferenceutils.py``, ``core/metrics/matching.py``
and ``core/crossvalutils.py``). Object keypoint similarity is COCO's, but for the area, which is
that of the rectangle around the labelled keypoints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from dlc_deploy.errors import InputError

Float = NDArray[np.float64]
Ints = NDArray[np.int64]
Poses = Mapping[str, NDArray[np.floating]]
UNMATCHED = -1


@dataclass(frozen=True, slots=True, eq=False)
class ImagePoses:
    """What is held against each other in one image; A labelled animals, P predictions.

    Attributes:
        truth: float64 [A, K, 3]; x, y, visibility; NaN where a keypoint is not labelled.
        predicted: float64 [P, K, 3]; x, y, score; the most confident first.
    """

    truth: Float
    predicted: Float

    def with_keypoints(self, count: int) -> ImagePoses:
        """Without animals and predictions of fewer than ``count`` keypoints."""
        return ImagePoses(
            self.truth[_keypoints(self.truth) >= count],
            self.predicted[_keypoints(self.predicted) >= count],
        )

    def confidences(self) -> Float:
        """Float64 [P]; the mean score of the keypoints of each prediction."""
        return np.asarray(np.nanmean(self.predicted[..., 2], axis=1), dtype=np.float64)


def pair_poses(ground_truth: Poses, predictions: Poses) -> list[ImagePoses]:
    """The labels and predictions of each image, in the order of ``ground_truth``.

    Labels that are not visible and predictions of a negative score become NaN; animals without any
    keypoint are left out. Predictions may carry more than three values a keypoint (PAF: five).

    Raises:
        InputError: an image without predictions, or arrays of other shapes.
    """
    return [
        _pair(image, truth, _of_image(image, predictions)) for image, truth in ground_truth.items()
    ]


def object_keypoint_similarity(
    truth: Float, predicted: Float, sigma: float | ArrayLike = 0.1, margin: float = 0.0
) -> Float:
    """OKS of each prediction with each animal.

    Args:
        truth: float64 [A, K, 2], pixels, NaN where not labelled.
        predicted: float64 [P, K, 2].
        sigma: COCO's constant, one or [K].
        margin: pixels added on each side of the labelled keypoints before their area is taken.

    Returns:
        Float64 [P, A]; NaN for animals of fewer than two keypoints or without an area.
    """
    columns = [_similarity(animal, predicted, np.asarray(sigma, float), margin) for animal in truth]
    return np.stack(columns, axis=1) if columns else np.zeros((len(predicted), 0))


def match_greedily(similarity: Float, threshold: float) -> Ints:
    """The animal of each prediction, int64 [P], -1 for none.

    The first prediction chooses first, and each may only take the animal that it is most similar
    to: where that one is taken, the prediction stays alone (COCO gives it the next best).
    """
    chosen = np.full(len(similarity), UNMATCHED, dtype=np.int64)
    for row, values in enumerate(similarity):
        if np.isnan(values).all():
            continue
        best = int(np.nanargmax(values))
        if best not in chosen and not values[best] < threshold:
            chosen[row] = best
    return chosen


def closest_neighbors(query: Float, reference: Float, k: int = 3) -> Ints:
    """The point of ``reference`` [R, D] for each one of ``query`` [Q, D]: int64 [Q], -1 for none.

    Points of ``query`` choose in the order of their distance to what is nearest, each among the
    ``k`` nearest ones that are not taken yet.
    """
    chosen = np.full(len(query), UNMATCHED, dtype=np.int64)
    if not len(query) or not len(reference):
        return chosen
    # Which of two equal distances comes first is the tree's choice; absent animals share a place.
    found = cKDTree(reference).query(query, k=k)
    distances, nearest = (np.reshape(values, (len(query), k)) for values in found)
    for row in np.argsort(distances[:, 0]):
        free = [index for index in nearest[row] if index < len(reference) and index not in chosen]
        if free:
            chosen[row] = free[0]
    return chosen


def visible(poses: Float) -> NDArray[np.bool_]:
    """Bool [..., K]: which keypoints of [..., K, 3] have all of their values."""
    return np.asarray(~np.isnan(poses).any(axis=-1))


def _keypoints(poses: Float) -> Ints:
    return np.asarray(visible(poses).sum(axis=-1), dtype=np.int64)


def _of_image(image: str, predictions: Poses) -> NDArray[np.floating]:
    try:
        return predictions[image]
    except KeyError:
        raise InputError(
            f"{image}: expected predictions for each labelled image, got none. Give an array "
            "[0, bodyparts, 3] for an image where nothing was found."
        ) from None


def _pair(image: str, truth: ArrayLike, predicted: ArrayLike) -> ImagePoses:
    labels = np.array(truth, dtype=np.float64)
    poses = np.array(predicted, dtype=np.float64)
    _check_shapes(image, labels, poses)
    poses = poses[..., :3]
    labels[labels[..., 2] <= 0] = np.nan
    poses[poses[..., 2] < 0] = np.nan
    pair = ImagePoses(labels, poses).with_keypoints(1)
    order = np.argsort(-pair.confidences(), kind="stable")
    return ImagePoses(pair.truth, pair.predicted[order])


def _check_shapes(image: str, truth: Float, predicted: Float) -> None:
    shapes = truth.shape, predicted.shape
    if truth.ndim == predicted.ndim == 3:
        wide_enough = truth.shape[2] == 3 and predicted.shape[2] >= 3
        if wide_enough and truth.shape[1] == predicted.shape[1]:
            return
    raise InputError(
        f"{image}: expected labels [animals, bodyparts, 3] and predictions [animals, bodyparts, 3 "
        f"or more] of the same bodyparts, got {list(shapes[0])} and {list(shapes[1])}."
    )


def _similarity(animal: Float, predicted: Float, sigma: Float, margin: float) -> Float:
    labeled = ~np.isnan(animal).all(axis=1)
    undefined = np.full(len(predicted), np.nan)
    if labeled.sum() < 2:
        return undefined
    points = animal[labeled]
    area = np.prod(np.ptp(points, axis=0) + np.spacing(1) + 2 * margin)
    if np.isclose(area, 0):
        return undefined
    squared = np.sum((predicted[:, labeled] - points) ** 2, axis=2)
    squared[np.isnan(squared)] = np.inf
    spread = 2 * area * (2 * sigma) ** 2
    similar = np.exp(-squared / (spread[labeled] if np.ndim(spread) else spread))
    return np.asarray(similar.mean(axis=1))


def split_matched(pair: ImagePoses, chosen: Ints) -> Iterator[tuple[Float, Float | None]]:
    """Each prediction with the labels of its animal, None where it has none."""
    for pose, animal in zip(pair.predicted, chosen, strict=True):
        yield pose, None if animal == UNMATCHED else pair.truth[animal]

"""Which images are trained on and which are tested with
(deeplabcut's generate_training_dataset/trainingsetmanipulation.py, SplitTrials)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlc_deploy.errors import InputError

from .folders import ProjectFolders, percent

Indices = NDArray[np.int64]


class Split(NamedTuple):
    """One shuffle of the images; unpacks as what DeepLabCut's ``create_training_dataset`` returns.

    Attributes:
        train_fraction: the share of images that are trained on.
        shuffle: its number.
        indices: int64 arrays (train, test) of rows of the merged labels.
    """

    train_fraction: float
    shuffle: int
    indices: tuple[Indices, Indices]


def draw_splits(
    images: int, folders: ProjectFolders, shuffles: Sequence[int], seed: int | None
) -> list[Split]:
    """A split for every shuffle and training fraction.

    With a seed, those that DeepLabCut draws after ``numpy.random.seed(seed)``: in projects of one
    animal all shuffles of a fraction first, in the others all fractions of a shuffle.

    Raises:
        InputError: too few images to train on.
    """
    random = np.random.RandomState(seed)
    if folders.project.multi_animal:
        wanted = [(fraction, shuffle) for shuffle in shuffles for fraction in folders.fractions]
    else:
        wanted = [(fraction, shuffle) for fraction in folders.fractions for shuffle in shuffles]
    return [
        Split(fraction, shuffle, _draw(images, fraction, random)) for fraction, shuffle in wanted
    ]


def given_splits(
    images: int,
    folders: ProjectFolders,
    shuffles: Sequence[int],
    train: Sequence[Iterable[int]],
    test: Sequence[Iterable[int]],
) -> list[Split]:
    """Splits that the caller chose, one for each shuffle.

    Their fraction is the share of ``train``, which must be one of the project's. As in DeepLabCut
    an index of -1 counts for the share and is no image.

    Raises:
        InputError: numbers that do not fit the images, the shuffles or the project's fractions.
    """
    if not len(train) == len(test) == len(shuffles):
        raise InputError(
            f"Expected train and test indices for each of {len(shuffles)} shuffles, got "
            f"{len(train)} and {len(test)} lists. Give one list for each shuffle."
        )
    return [
        _given(images, folders, shuffle, _array(one), _array(other))
        for shuffle, one, other in zip(shuffles, train, test, strict=True)
    ]


def _draw(images: int, fraction: float, random: np.random.RandomState) -> tuple[Indices, Indices]:
    order = random.permutation(images).astype(np.int64)
    size = int(images * round(fraction, 2))
    if size == 0:
        raise InputError(
            f"Expected enough labelled images to train on {fraction:.0%} of them, got {images}. "
            "Label more, or change TrainingFraction in config.yaml."
        )
    return order[:size], order[size:]


def _array(indices: Iterable[int]) -> Indices:
    return np.asarray(list(indices), dtype=np.int64)


def _given(
    images: int, folders: ProjectFolders, shuffle: int, train: Indices, test: Indices
) -> Split:
    both = np.concatenate([train, test])
    outside = both[(both < -1) | (both >= images)]
    used = both[both >= 0]
    if len(outside) or len(np.unique(used)) < len(used) or not (train >= 0).any():
        raise InputError(
            f"Shuffle {shuffle}: expected indices of {images} images, from 0 on, each once and at "
            f"least one to train on, got train {train.tolist()} and test {test.tolist()}."
        )
    share = round(len(train) / len(both), 2)
    for fraction in folders.fractions:
        if percent(fraction) == percent(share):
            return Split(fraction, shuffle, (train[train >= 0], test[test >= 0]))
    raise InputError(
        f"Shuffle {shuffle}: expected a share of {list(folders.fractions)} to train on, the "
        f"project's TrainingFraction, got {share}. Add it there, or pad the indices with -1."
    )

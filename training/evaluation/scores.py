"""The figures of a model on the images of a split (deeplabcut's ``apis/evaluation.py``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlc_deploy.errors import InputError

from ..data.base import Loader, Mode
from ..data.parameters import PoseDatasetParameters
from ..metrics import compute_identity_scores, compute_metrics
from ..metrics.poses import Cutoffs
from .prediction import Prediction, Runner, predict

Bodyparts = str | Sequence[str] | None
"""Names of the bodyparts to evaluate; ``all`` or None for every one."""
Poses = dict[str, NDArray[np.floating]]
_FIGURES = ("rmse", "rmse_pcutoff", "mAP", "mAR")
ABSENT = -1.0
DEFAULT_PCUTOFF = 0.6


def evaluate(
    pose_runner: Runner,
    loader: Loader,
    mode: Mode,
    detector_runner: Runner | None = None,
    parameters: PoseDatasetParameters | None = None,
    comparison_bodyparts: Bodyparts = None,
    per_keypoint_evaluation: bool = False,
    pcutoff: Cutoffs = DEFAULT_PCUTOFF,
    force_multi_animal: bool = False,
) -> tuple[dict[str, float], dict[str, Prediction]]:
    """Hold what a model finds in the images of ``mode`` against their labels.

    Args:
        pose_runner: finds poses.
        loader: has the images and their labels.
        mode: ``train`` or ``test``.
        detector_runner: finds the animals of a top-down model; without one, the labelled boxes
            are taken.
        parameters: names of the bodyparts, where they are not the loader's (memory replay).
        comparison_bodyparts: evaluate only these.
        per_keypoint_evaluation: also an error for each bodypart.
        pcutoff: the least score of ``rmse_pcutoff``: one, or one for each bodypart and unique
            bodypart that is evaluated.
        force_multi_animal: match predictions with animals where there is one animal, too.

    Returns:
        The figures of :func:`~dlc_deploy.training.metrics.compute_metrics`, with
        ``id_head_<bodypart>_accuracy`` of models that tell animals apart; all NaN for a split
        without images. And the predictions by the path of the image, of the evaluated bodyparts.

    Raises:
        InputError: images, bodyparts or cutoffs that cannot be used.
    """
    names = parameters or loader.get_dataset_parameters()
    chosen = Chosen.of(names, comparison_bodyparts)
    chosen.check(pcutoff)
    found = predict(pose_runner, loader, mode, detector_runner)
    if not found:
        return dict.fromkeys(_FIGURES, float("nan")), {}
    rows = len(names.individuals)
    order = _replayed(loader)
    predictions = {path: chosen.prediction(one, rows, order) for path, one in found.items()}
    truth, unique = chosen.labels(loader, mode)
    poses = {path: one["bodyparts"] for path, one in predictions.items()}
    figures = compute_metrics(
        truth,
        poses,
        single_animal=chosen.alone and not force_multi_animal,
        unique_bodypart_gt=unique,
        unique_bodypart_poses=_unique(predictions) if unique is not None else None,
        pcutoff=pcutoff,
        per_keypoint_rmse=per_keypoint_evaluation,
        compute_detection_rmse=False,
    )
    if tells_identity(loader.model_cfg) and chosen.of_animals:
        figures |= _identity(names.individuals, chosen.names.bodyparts, predictions, truth)
    return figures, predictions


@dataclass(frozen=True, slots=True)
class Chosen:
    """The bodyparts that are evaluated.

    Attributes:
        names: of what is evaluated. Where only unique bodyparts are, they are the bodyparts of one
            animal, as in DeepLabCut.
        bodyparts: their places among all bodyparts; unique ones where only those are evaluated.
        unique: places of the unique bodyparts beside them.
        of_animals: whether ``bodyparts`` are the animals'.
    """

    names: PoseDatasetParameters
    bodyparts: tuple[int, ...]
    unique: tuple[int, ...]
    of_animals: bool = True

    @classmethod
    def of(cls, names: PoseDatasetParameters, wanted: Bodyparts) -> Chosen:
        """Those of ``names`` that are wanted.

        Raises:
            InputError: a name that is none of a bodypart.
        """
        listed = [wanted] if isinstance(wanted, str) else wanted
        if listed is None or list(listed) == ["all"]:
            listed = [*names.bodyparts, *names.unique_bpts]
        unknown = sorted(set(listed) - {*names.bodyparts, *names.unique_bpts})
        if unknown or not listed:
            raise InputError(
                "comparison_bodyparts: expected names out of "
                f"{[*names.bodyparts, *names.unique_bpts]}, got {unknown or 'none'}. "
                "Name some of them, or pass 'all'."
            )
        bodyparts = _places(names.bodyparts, listed)
        unique = _places(names.unique_bpts, listed)
        kept = [names.unique_bpts[place] for place in unique]
        if not bodyparts:
            alone = replace(names, bodyparts=kept, unique_bpts=[], individuals=["animal"])
            return cls(alone, unique, (), of_animals=False)
        part = [names.bodyparts[place] for place in bodyparts]
        return cls(replace(names, bodyparts=part, unique_bpts=kept), bodyparts, unique)

    @property
    def alone(self) -> bool:
        """Whether there is one animal at most."""
        return len(self.names.individuals) == 1

    def check(self, pcutoff: Cutoffs) -> None:
        """Refuse a list of cutoffs that is not one for each evaluated bodypart.

        Raises:
            InputError: it is not.
        """
        named = [*self.names.bodyparts, *self.names.unique_bpts]
        if isinstance(pcutoff, Sequence) and len(pcutoff) != len(named):
            raise InputError(
                f"pcutoff: expected one number, or one for each of the {len(named)} bodyparts "
                f"{named}, got {len(pcutoff)}."
            )

    def prediction(self, found: Prediction, rows: int, order: list[int] | None) -> Prediction:
        """What is evaluated of a prediction, with a row for each of the project's animals.

        ``order``: the places of the project's bodyparts among those that the model finds.
        """
        kept = {key: value for key, value in found.items() if key in ("bboxes", "bbox_scores")}
        poses = _in_rows(found["bodyparts"], rows)
        if order is not None:
            poses = poses[:, order]
        if not self.of_animals:
            return kept | {"bodyparts": found["unique_bodyparts"][:1, list(self.bodyparts)]}
        kept["bodyparts"] = poses[:, list(self.bodyparts)]
        if self.unique:
            kept["unique_bodyparts"] = found["unique_bodyparts"][:1, list(self.unique)]
        if "identity_scores" in found:
            scores = _in_rows(found["identity_scores"], rows)
            kept["identity_scores"] = scores[:, list(self.bodyparts)]
        return kept

    def labels(self, loader: Loader, mode: Mode) -> tuple[Poses, Poses | None]:
        """Labels of what is evaluated by the path of the image: [A, K, 3] and, of the unique
        bodyparts beside them, [1, U, 3]."""
        if not self.of_animals:
            return _part(loader, mode, self.bodyparts, True), None
        unique = _part(loader, mode, self.unique, True) if self.unique else None
        return _part(loader, mode, self.bodyparts, False), unique


def tells_identity(model_cfg: Mapping[str, Any]) -> bool:
    """Whether the model has a head that tells animals apart; those of crops never have one."""
    heads = (model_cfg.get("model") or {}).get("heads") or {}
    wanted = (model_cfg.get("metadata") or {}).get("with_identity")
    return bool(wanted) and "identity" in heads


def memory_replay(model_cfg: Mapping[str, Any]) -> dict[str, Any] | None:
    """``weight_init`` of a model that was trained with memory replay; None for others."""
    settings = (model_cfg.get("train_settings") or {}).get("weight_init") or {}
    return settings if settings.get("memory_replay") else None


def cutoffs_of(
    pcutoff: Cutoffs | dict[str, float] | None, chosen: Chosen, default: float
) -> float | list[float]:
    """One cutoff, or one for each evaluated bodypart; 0.6 for those that a dict leaves out."""
    if pcutoff is None:
        return default
    if isinstance(pcutoff, dict):
        named = [*chosen.names.bodyparts, *chosen.names.unique_bpts]
        return [float(pcutoff.get(name, DEFAULT_PCUTOFF)) for name in named]
    return list(pcutoff) if isinstance(pcutoff, Sequence) else float(pcutoff)


def _places(names: list[str], wanted: Sequence[str]) -> tuple[int, ...]:
    return tuple(place for place, name in enumerate(names) if name in set(wanted))


def _in_rows(values: NDArray[np.floating], rows: int) -> NDArray[np.floating]:
    """[rows, ...] of [P, ...]: cut, or filled with what means absent."""
    missing = rows - len(values)
    if missing <= 0:
        return values[:rows]
    absent = np.full((missing, *values.shape[1:]), ABSENT, values.dtype)
    return np.concatenate([values, absent])


def _part(loader: Loader, mode: Mode, places: tuple[int, ...], unique: bool) -> Poses:
    labels = loader.ground_truth_keypoints(mode, unique_bodypart=unique)
    return {path: keypoints[:, list(places)] for path, keypoints in labels.items()}


def _unique(predictions: dict[str, Prediction]) -> Poses:
    return {path: one["unique_bodyparts"] for path, one in predictions.items()}


def _identity(
    individuals: list[str], bodyparts: list[str], found: dict[str, Prediction], truth: Poses
) -> dict[str, float]:
    scores = compute_identity_scores(
        individuals,
        bodyparts,
        {path: one["bodyparts"] for path, one in found.items()},
        {path: one["identity_scores"] for path, one in found.items()},
        truth,
    )
    return {f"id_head_{name}": score for name, score in scores.items()}


def _replayed(loader: Loader) -> list[int] | None:
    """A model that was trained with memory replay finds the bodyparts of the SuperAnimal that it
    comes from: where the project's are among them."""
    settings = memory_replay(loader.model_cfg)
    return None if settings is None else [int(place) for place in settings["conversion_array"]]

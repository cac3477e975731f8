"""One snapshot held against all labelled images, and the files that tell of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dlc_deploy.choices import PlotMode

from ..data.base import Loader, Mode, Transform
from ..data.dlcloader import DLCLoader
from ..data.parameters import PoseDatasetParameters
from ..data.snapshots import Snapshot
from ..inference import build
from ..metrics.poses import Cutoffs
from .pictures import PlotStyle, draw_predictions
from .places import model_name, results_folder, scorer_of
from .prediction import Prediction, Runner
from .progress import ShownRunner
from .scores import (
    DEFAULT_PCUTOFF,
    Bodyparts,
    Chosen,
    cutoffs_of,
    evaluate,
    memory_replay,
    tells_identity,
)
from .tables import (
    COMBINED,
    check_combined,
    prediction_table,
    write_bodypart_errors,
    write_predictions,
    write_results,
)

MODES: tuple[Mode, ...] = ("train", "test")


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """How snapshots are evaluated.

    Attributes:
        pcutoff: the least score of ``rmse_pcutoff``: one, one for each evaluated bodypart, or by
            name (0.6 for the others); None for that of the project, or 0.6.
        comparison_bodyparts: evaluate only these; ``all`` or None for every one.
        per_keypoint_evaluation: also write the error of each bodypart.
        plotting: draw predictions over the images, and what has a colour of its own there.
        transform: of the images, instead of the configuration's.
        device: where the networks run; None for that of the configuration.
        batch_size: images through the pose model at once.
        detector_batch_size: images through the detector at once.
        show_progress: bars on standard error while the networks run.
    """

    pcutoff: Cutoffs | dict[str, float] | None = None
    comparison_bodyparts: Bodyparts = None
    per_keypoint_evaluation: bool = False
    plotting: PlotMode | None = None
    transform: Transform | None = None
    device: str | None = None
    batch_size: int = 1
    detector_batch_size: int = 1
    show_progress: bool = False


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of one snapshot.

    Attributes:
        scorer: name of the results.
        snapshot: name of the file.
        detector: name of the detector's file; None where there was none.
        pcutoff: of ``rmse_pcutoff``.
        images: how many, by split.
        figures: ``<split> <figure>`` as in ``-results.csv``, rounded to two digits.
        bodypart_errors: mean error in pixels by split and bodypart, if asked for.
        files: what was written, pictures left out.
        pictures: folder of the pictures, if asked for.
    """

    scorer: str
    snapshot: str
    detector: str | None
    pcutoff: float | list[float]
    images: dict[str, int]
    figures: dict[str, float]
    bodypart_errors: dict[str, dict[str, float]]
    files: list[Path]
    pictures: Path | None


@dataclass(frozen=True, slots=True)
class _Split:
    """What came of one split: figures, and predictions by the path of the image."""

    figures: dict[str, float]
    errors: dict[str, float]
    predictions: dict[str, Prediction]


def evaluate_snapshot(
    loader: Loader,
    snapshot: Snapshot,
    detector_snapshot: Snapshot | None = None,
    options: EvaluationOptions | None = None,
) -> Evaluation:
    """Evaluate a snapshot in the train and the test images and write DeepLabCut's files.

    Args:
        loader: has the images and the model's configuration.
        snapshot: of the pose model.
        detector_snapshot: of the detector of a top-down model; None for the labelled boxes.
        options: how.

    Raises:
        InputError: images, snapshots or options that cannot be used; nothing is written then.
        OutputError: a file could not be written.
    """
    how = options or EvaluationOptions()
    names = _names(loader)
    chosen = Chosen.of(names, how.comparison_bodyparts)
    pcutoff = cutoffs_of(how.pcutoff, chosen, _default_pcutoff(loader))
    chosen.check(pcutoff)
    key = _key(loader, snapshot, detector_snapshot, pcutoff)
    check_combined(results_folder(loader).parent / COMBINED, key)
    runners = _runners(loader, snapshot, detector_snapshot, how)
    splits = {mode: _evaluate_split(*runners, loader, mode, names, pcutoff, how) for mode in MODES}
    evaluation = Evaluation(
        scorer=scorer_of(loader, snapshot, detector_snapshot),
        snapshot=snapshot.path.name,
        detector=detector_snapshot.path.name if detector_snapshot else None,
        pcutoff=pcutoff,
        images={mode: len(split.predictions) for mode, split in splits.items()},
        figures={
            f"{mode} {name}": round(value, 2)
            for mode, split in splits.items()
            for name, value in split.figures.items()
        },
        bodypart_errors={mode: split.errors for mode, split in splits.items() if split.errors},
        files=[],
        pictures=None,
    )
    files = _write(evaluation, loader, key, splits, chosen)
    pictures = None
    if how.plotting is not None:
        style = PlotStyle.of_project(_project(loader), how.plotting, pcutoff)
        pictures = _draw(evaluation.scorer, loader, splits, chosen, style)
    return replace(evaluation, files=files, pictures=pictures)


def _evaluate_split(
    pose_runner: Runner,
    detector_runner: Runner | None,
    loader: Loader,
    mode: Mode,
    names: PoseDatasetParameters,
    pcutoff: Cutoffs,
    how: EvaluationOptions,
) -> _Split:
    figures, predictions = evaluate(
        pose_runner,
        loader,
        mode,
        detector_runner,
        parameters=names,
        comparison_bodyparts=how.comparison_bodyparts,
        per_keypoint_evaluation=how.per_keypoint_evaluation,
        pcutoff=pcutoff,
    )
    chosen = Chosen.of(names, how.comparison_bodyparts).names
    errors = {
        name: figures.pop(f"{key}_{place}")
        for key, bodyparts in (
            ("rmse_keypoint", chosen.bodyparts),
            ("rmse_unique_keypoint", chosen.unique_bpts),
        )
        for place, name in enumerate(bodyparts)
        if f"{key}_{place}" in figures
    }
    return _Split(figures, errors, predictions)


def _write(
    evaluation: Evaluation,
    loader: Loader,
    key: Mapping[str, Any],
    splits: Mapping[Mode, _Split],
    chosen: Chosen,
) -> list[Path]:
    """Write the tables; their paths."""
    folder, scorer = results_folder(loader), evaluation.scorer
    predictions = {
        path: one for split in splits.values() for path, one in split.predictions.items()
    }
    table = folder / f"{scorer}.h5"
    write_predictions(prediction_table(loader, scorer, predictions, chosen.names), table)
    results, combined = folder / f"{scorer}-results.csv", folder.parent / COMBINED
    write_results(results, combined, key, evaluation.figures)
    files = [table, results, combined]
    if evaluation.bodypart_errors:
        files.append(folder / f"{scorer}-keypoint-results.csv")
        write_bodypart_errors(files[-1], evaluation.bodypart_errors)
    return files


def _draw(
    scorer: str, loader: Loader, splits: Mapping[Mode, _Split], chosen: Chosen, style: PlotStyle
) -> Path:
    """Draw all pictures; their folder."""
    folder = results_folder(loader) / f"LabeledImages_{scorer}"
    for mode, split in splits.items():
        truth, unique = chosen.labels(loader, mode)
        labels = {
            path: [keypoints] if unique is None else [keypoints, unique[path]]
            for path, keypoints in truth.items()
        }
        draw_predictions(folder, loader, mode, split.predictions, labels, style)
    return folder


def _runners(
    loader: Loader, snapshot: Snapshot, detector: Snapshot | None, how: EvaluationOptions
) -> tuple[Runner, Runner | None]:
    names = loader.get_dataset_parameters()
    pose_runner, detector_runner = build.get_inference_runners(
        model_config=loader.model_cfg,
        snapshot_path=snapshot.path,
        max_individuals=names.max_num_animals,
        num_bodyparts=names.num_joints,
        num_unique_bodyparts=names.num_unique_bpts,
        batch_size=how.batch_size,
        device=how.device,
        with_identity=tells_identity(loader.model_cfg),
        transform=how.transform,
        detector_batch_size=how.detector_batch_size,
        detector_path=detector.path if detector else None,
    )
    if not how.show_progress:
        return pose_runner, detector_runner
    shown = ShownRunner(detector_runner, "boxes") if detector_runner else None
    return ShownRunner(pose_runner, f"poses of {snapshot.path.stem}"), shown


def _names(loader: Loader) -> PoseDatasetParameters:
    """Names of what is evaluated: with memory replay the project's, not the SuperAnimal's."""
    names = loader.get_dataset_parameters()
    settings = memory_replay(loader.model_cfg)
    if settings is None:
        return names
    bodyparts = settings.get("bodyparts")
    if bodyparts is None and isinstance(loader, DLCLoader):
        bodyparts = loader.folders.project.bodyparts
    return replace(names, bodyparts=list(bodyparts or names.bodyparts))


def _key(
    loader: Loader, snapshot: Snapshot, detector: Snapshot | None, pcutoff: float | list[float]
) -> dict[str, Any]:
    """What tells the lines of the table of all results apart."""
    return {
        **_key_of_model(loader),
        "Training epochs": snapshot.epochs,
        "Detector epochs (TD only)": detector.epochs if detector else -1,
        "pcutoff": ", ".join(map(str, pcutoff)) if isinstance(pcutoff, list) else pcutoff,
    }


def _key_of_model(loader: Loader) -> dict[str, Any]:
    """What tells the models of a project apart in the table of all results."""
    if isinstance(loader, DLCLoader):
        return {"%Training dataset": loader.train_fraction, "Shuffle number": loader.shuffle}
    train, test = (len(loader.labels(mode)) for mode in MODES)
    return {
        "%Training dataset": round(train / max(train + test, 1), 2),
        "Model": model_name(loader),
    }


def _project(loader: Loader) -> dict[str, Any]:
    """The keys of ``config.yaml``; a COCO folder has none."""
    return loader.project_cfg if isinstance(loader, DLCLoader) else {}


def _default_pcutoff(loader: Loader) -> float:
    value = _project(loader).get("pcutoff")
    return DEFAULT_PCUTOFF if value is None else float(value)

"""Evaluation of trained models under DeepLabCut's names (``apis/evaluation.py``)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlc_deploy.choices import PlotMode
from dlc_deploy.errors import InputError

from ..data.base import Loader, Transform
from ..data.dlcloader import DLCLoader
from ..data.snapshots import Snapshot
from ..evaluation.prediction import predict
from ..evaluation.report import figures_as_text
from ..evaluation.scores import Bodyparts, evaluate
from ..evaluation.snapshot import Evaluation, EvaluationOptions, evaluate_snapshot
from ..evaluation.snapshots import SnapshotChoice, choose_snapshots
from ..metrics.poses import Cutoffs
from ..projects.folders import ProjectFolders
from ..task import Task

__all__ = ["evaluate", "evaluate_loader", "evaluate_network", "evaluate_snapshot", "predict"]

_log = logging.getLogger(__name__)


def evaluate_network(
    config: str | Path | Mapping[str, Any],
    shuffles: Iterable[int] = (1,),
    trainingsetindex: int | str = 0,
    snapshotindex: SnapshotChoice | None = None,
    device: str | None = None,
    plotting: bool | PlotMode = False,
    show_errors: bool = True,
    transform: Transform | None = None,
    snapshots_to_evaluate: Sequence[str] | None = None,
    comparison_bodyparts: Bodyparts = None,
    per_keypoint_evaluation: bool = False,
    modelprefix: str = "",
    detector_snapshot_index: SnapshotChoice | None = None,
    pcutoff: Cutoffs | dict[str, float] | None = None,
    batch_size: int = 1,
    detector_batch_size: int = 1,
) -> list[Evaluation]:
    """Evaluate models of a DeepLabCut project and write results where DeepLabCut writes them.

    Args:
        config: the project's ``config.yaml``, its folder, or the file's keys and values.
        shuffles: which models.
        trainingsetindex: which of ``TrainingFraction``; ``all`` for each one.
        snapshotindex: an index into the snapshots by epoch, of which a best one is the last; a
            name; ``best``; or ``all``. None: ``snapshotindex`` of the project.
        device: ``cpu`` or ``cuda:N``; None for that of the configuration.
        plotting: draw predictions over the images; ``True`` or ``bodypart``: a colour for each
            bodypart, ``individual``: for each animal.
        show_errors: print the figures.
        transform: of the images, instead of the configuration's.
        snapshots_to_evaluate: names of snapshots, instead of ``snapshotindex``.
        comparison_bodyparts: evaluate only these.
        per_keypoint_evaluation: also write the error of each bodypart.
        modelprefix: folder in the project that models are in, if it is not the project itself.
        detector_snapshot_index: as ``snapshotindex``, of the detectors of top-down models; None:
            ``detector_snapshotindex`` of the project. ``none``, or a model without trained
            detectors: the labelled boxes are taken.
        pcutoff: the least score of ``rmse_pcutoff``: one, one for each evaluated bodypart, or by
            name (0.6 for the others); None for that of the project.
        batch_size: images through the pose model at once.
        detector_batch_size: images through the detector at once.

    Returns:
        What came of each snapshot.

    Raises:
        InputError: a project, snapshots, images or options that cannot be used.
        OutputError: a file could not be written.
    """
    folders = ProjectFolders.read(config)
    options = EvaluationOptions(
        pcutoff=pcutoff,
        comparison_bodyparts=comparison_bodyparts,
        per_keypoint_evaluation=per_keypoint_evaluation,
        plotting=_plot_mode(plotting),
        transform=transform,
        device=device,
        batch_size=batch_size,
        detector_batch_size=detector_batch_size,
    )
    evaluations = []
    for index in _fractions(trainingsetindex, folders):
        for shuffle in shuffles:
            evaluations += evaluate_loader(
                DLCLoader(config, index, shuffle, modelprefix),
                project_choice(folders.content, "snapshotindex", snapshotindex),
                project_choice(folders.content, "detector_snapshotindex", detector_snapshot_index),
                options,
                names=snapshots_to_evaluate,
                show_errors=show_errors,
            )
    return evaluations


def evaluate_loader(
    loader: Loader,
    snapshot: SnapshotChoice = -1,
    detector: SnapshotChoice = -1,
    options: EvaluationOptions | None = None,
    *,
    names: Sequence[str] | None = None,
    show_errors: bool = False,
) -> list[Evaluation]:
    """Evaluate snapshots of one model, of a project or of a COCO folder.

    Args:
        loader: has the images and the model's configuration.
        snapshot: which, as in :func:`evaluate_network`.
        detector: which detector of a top-down model; ``none`` for the labelled boxes.
        options: how.
        names: names of snapshots, instead of ``snapshot``.
        show_errors: print the figures.

    Returns:
        What came of each pair of a detector and a snapshot.
    """
    snapshots = choose_snapshots(loader, snapshot, names=names)
    evaluations = []
    for detector_snapshot in _detectors(loader, detector):
        for chosen in snapshots:
            evaluation = evaluate_snapshot(loader, chosen, detector_snapshot, options)
            evaluations.append(evaluation)
            if show_errors:
                print(figures_as_text(evaluation))
    return evaluations


def _detectors(loader: Loader, choice: SnapshotChoice) -> list[Snapshot] | list[None]:
    """The detectors to evaluate with; None stands for the labelled boxes."""
    if loader.pose_task is not Task.TOP_DOWN or choice == "none":
        return [None]
    if not loader.snapshots(detector=True):
        _log.warning(
            "%s: no detector is trained: the labelled boxes are taken. "
            "Videos need a detector: train one.",
            loader.model_folder,
        )
        return [None]
    return choose_snapshots(loader, choice, detector=True)


def project_choice(
    project: Mapping[str, Any], key: str, choice: SnapshotChoice | None
) -> SnapshotChoice:
    """The choice of a project's ``config.yaml``, where none is given; the last one, where it has
    none.

    Raises:
        InputError: the key has another value.
    """
    given = project.get(key) if choice is None else choice
    if given is None:
        return -1
    if isinstance(given, bool) or not isinstance(given, int | str):
        raise InputError(f"{key}: expected an index, a name, best or all, got {given!r}.")
    return given


def _fractions(index: int | str, folders: ProjectFolders) -> list[int]:
    if index == "all":
        return list(range(len(folders.fractions)))
    if not isinstance(index, int):
        raise InputError(f"trainingsetindex: expected a number or 'all', got {index!r}.")
    return [index]


def _plot_mode(plotting: bool | str) -> PlotMode | None:
    if plotting is False:
        return None
    if plotting is True or plotting == "bodypart":
        return "bodypart"
    if plotting == "individual":
        return "individual"
    raise InputError(f"plotting: expected True, False, bodypart or individual, got {plotting!r}.")

"""``dlc-deploy evaluate PROJECT_OR_COCO_DIR``: figures of a model, in DeepLabCut's files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from dlc_deploy.arguments import needing, positive
from dlc_deploy.choices import PlotMode
from dlc_deploy.errors import UsageError
from dlc_deploy.registration import add_register_argument, register_models

from .training_arguments import add_annotation_files

if TYPE_CHECKING:
    from dlc_deploy.training.data.base import Loader
    from dlc_deploy.training.evaluation.snapshot import Evaluation, EvaluationOptions

DESCRIPTION = (
    "Hold a model's predictions against the labels of its training and test images: RMSE, mAP and "
    "mAR, in DeepLabCut's .csv and .h5 below evaluation-results-pytorch."
)
CONFIG_NAMES = ("pytorch_config.yaml", "pytorch_cfg.yaml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "folder",
        type=Path,
        metavar="PROJECT_OR_COCO_DIR",
        help="a DeepLabCut project (or its config.yaml), or a folder with annotations and images",
    )
    _add_model(parser)
    parser.add_argument(
        "--pcutoff",
        type=float,
        metavar="X",
        help="least score of 'rmse_pcutoff' (default: the project's, else 0.6)",
    )
    parser.add_argument(
        "--per-bodypart", action="store_true", help="also the error of each bodypart"
    )
    parser.add_argument("--plot", action="store_true", help="draw predictions over the images")
    parser.add_argument(
        "--color-by",
        choices=get_args(PlotMode),
        help="of --plot: what has a colour of its own (default: bodypart)",
    )
    parser.add_argument("--device", help="cpu or cuda:N (default: the model configuration's)")
    parser.add_argument(
        "--batch-size",
        type=positive,
        default=1,
        metavar="N",
        help="images through the networks at once (default: 1, as DeepLabCut)",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    add_register_argument(parser)


def _add_model(parser: argparse.ArgumentParser) -> None:
    """Which model, and which of its snapshots."""
    parser.add_argument("--shuffle", type=int, metavar="N", help="of a project (default: 1)")
    parser.add_argument(
        "--trainset-index", type=int, metavar="I", help="of a project's TrainingFraction"
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="of a COCO folder: the model's pytorch_config.yaml (default: the only one in it)",
    )
    add_annotation_files(parser)
    parser.add_argument(
        "--snapshot",
        type=_snapshot,
        metavar="S",
        help="an index by epoch, a name, best, or all (default: the project's snapshotindex, else "
        "-1: the best one if there is one, else the last)",
    )
    parser.add_argument(
        "--detector-snapshot",
        type=_snapshot,
        metavar="S",
        help="likewise, of a top-down model's detector; none takes the labelled boxes",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    with needing("train", "Evaluating"):
        from dlc_deploy.training.evaluation.snapshot import EvaluationOptions

    if arguments.color_by and not arguments.plot:
        raise UsageError("--color-by is for --plot, which was not given.")
    for source in arguments.register:
        register_models(source)
    options = EvaluationOptions(
        pcutoff=arguments.pcutoff,
        per_keypoint_evaluation=arguments.per_bodypart,
        plotting=(arguments.color_by or "bodypart") if arguments.plot else None,
        device=arguments.device,
        batch_size=arguments.batch_size,
        detector_batch_size=arguments.batch_size,
        show_progress=sys.stderr.isatty(),
    )
    evaluations = _evaluate(arguments, options)
    _tell_empty(evaluations)
    if arguments.json:
        _print_json(evaluations)
    else:
        _print_tables(evaluations)
    return 0


def _evaluate(arguments: argparse.Namespace, options: EvaluationOptions) -> list[Evaluation]:
    from dlc_deploy.training.apis.evaluation import evaluate_loader, project_choice
    from dlc_deploy.training.task import Task

    loader = _loader(arguments)
    if arguments.detector_snapshot is not None and loader.pose_task is not Task.TOP_DOWN:
        raise UsageError(
            "--detector-snapshot is for top-down models, but this one has method "
            f"{loader.pose_task.aliases[0].lower()}."
        )
    project = getattr(loader, "project_cfg", {})
    return evaluate_loader(
        loader,
        project_choice(project, "snapshotindex", arguments.snapshot),
        project_choice(project, "detector_snapshotindex", arguments.detector_snapshot),
        options,
    )


def _loader(arguments: argparse.Namespace) -> Loader:
    """The loader of a project, or of a COCO folder."""
    from .sources import kind_of

    kind = kind_of(
        arguments.folder,
        arguments,
        not_for_projects=("config", "train", "test"),
        not_for_coco=("shuffle", "trainset_index"),
    )
    return _project(arguments) if kind == "project" else _coco_folder(arguments)


def _project(arguments: argparse.Namespace) -> Loader:
    from dlc_deploy.training.data.dlcloader import DLCLoader

    from .sources import DEFAULT_SHUFFLE

    index, shuffle = arguments.trainset_index, arguments.shuffle
    return DLCLoader(arguments.folder, index or 0, DEFAULT_SHUFFLE if shuffle is None else shuffle)


def _coco_folder(arguments: argparse.Namespace) -> Loader:
    from dlc_deploy.training.data.cocoloader import COCOLoader

    from .sources import annotation_files

    train, test = annotation_files(arguments.folder, arguments.train, arguments.test)
    return COCOLoader(
        arguments.folder,
        arguments.config or _only_config(arguments.folder),
        train,
        test,
    )


def _only_config(folder: Path) -> Path:
    found = sorted(path for name in CONFIG_NAMES for path in folder.rglob(name))
    if len(found) == 1:
        return found[0]
    listed = ", ".join(str(path.relative_to(folder)) for path in found) or "none"
    raise UsageError(
        f"{folder}: expected one {CONFIG_NAMES[0]} in it, found {listed}. Pass --config FILE."
    )


def _tell_empty(evaluations: list[Evaluation]) -> None:
    empty = {split for one in evaluations for split, images in one.images.items() if not images}
    for split in sorted(empty):
        print(f"the {split} set has no images: it has no figures", file=sys.stderr)


def _print_json(evaluations: list[Evaluation]) -> None:
    import json

    from dlc_deploy.training.evaluation.report import as_json

    print(json.dumps([as_json(evaluation) for evaluation in evaluations], indent=2))


def _print_tables(evaluations: list[Evaluation]) -> None:
    from dlc_deploy.runtime.console import print_table
    from dlc_deploy.training.evaluation.report import bodypart_table, figures_table

    print_table(figures_table(evaluations))
    for evaluation in evaluations:
        if evaluation.bodypart_errors:
            print_table(bodypart_table(evaluation))
    written = [path for one in evaluations for path in [*one.files, one.pictures] if path]
    print("\n".join(map(str, dict.fromkeys(written))))


def _snapshot(text: str) -> int | str:
    return int(text) if text.removeprefix("-").isdecimal() else text

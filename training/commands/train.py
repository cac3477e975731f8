"""``dlc-train PROJECT_OR_COCO_DIR``: train a model, and go on where a run was cut off."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from dlc_deploy.choices import TrainingPrecision
from dlc_deploy.errors import UnavailableError, UsageError
from dlc_deploy.registration import add_register_argument, register_models

if TYPE_CHECKING:
    from ..apis.train_network import RunOptions
    from ..data.base import Loader
    from .training_runs import ModelRun

DESCRIPTION = (
    "Train a model on a DeepLabCut project or a COCO folder. The snapshots are DeepLabCut's own. "
    "A run that was cut off goes on when the same command is typed again."
)
INTERRUPTED = 130
LOGGERS = {"tensorboard": "TensorboardLogger", "wandb": "WandbLogger"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "source",
        type=Path,
        metavar="PROJECT_OR_COCO_DIR",
        help="a DeepLabCut project (or its config.yaml), or a folder with annotations and images",
    )
    _add_data(parser.add_argument_group("which images"))
    _add_model(parser.add_argument_group("which model, where none is configured yet"))
    _add_training(parser.add_argument_group("how it is trained (default: as it is configured)"))
    _add_start(parser.add_argument_group("what it starts from (default: ImageNet's weights)"))
    _add_records(parser.add_argument_group("what is kept and told"))


def _add_data(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--shuffle", type=_index, metavar="N", help="of a project; made if need be (default: 1)"
    )
    group.add_argument(
        "--trainset-index",
        type=_index,
        metavar="N",
        help="which of the project's TrainingFraction (default: 0)",
    )
    group.add_argument(
        "--train", metavar="FILE", help="of a COCO folder's annotations (default: train.json)"
    )
    group.add_argument(
        "--test", metavar="FILE", help="likewise (default: test.json, if there is one)"
    )


def _add_model(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--net-type",
        metavar="NAME",
        help="such as resnet_50, rtmpose_s, dekr_w32 (default: the project's, else resnet_50)",
    )
    group.add_argument(
        "--top-down", action="store_true", help="pair a backbone such as resnet_50 with a detector"
    )
    group.add_argument(
        "--detector-type", metavar="NAME", help="of a top-down model (default: ssdlite)"
    )
    group.add_argument(
        "--conditions",
        type=_conditions,
        metavar="SHUFFLE|FILE",
        help="of a ctd_* model: the shuffle, or the file, with the poses that it refines",
    )
    add_register_argument(group)
    group.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FOLDER",
        help="of a COCO folder's model (default: experiments/NAME in it)",
    )


def _add_training(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--epochs", type=_index, metavar="N", help="of the pose model")
    group.add_argument("--batch-size", type=_positive, metavar="N", help="of the pose model")
    group.add_argument("--detector-epochs", type=_index, metavar="N", help="0: do not train it")
    group.add_argument("--device", metavar="auto|cpu|cuda:N")
    group.add_argument("--gpus", type=_gpus, metavar="0,1", help="GPUs that share each batch")
    group.add_argument(
        "--workers", type=_index, metavar="N", help="processes that read images; 0: none"
    )
    group.add_argument(
        "--seed", type=_index, metavar="N", help="of the training, and of a split that is made"
    )
    group.add_argument(
        "--precision",
        choices=get_args(TrainingPrecision),
        default="fp32",
        help="of the networks; bf16 and fp16 save time and memory on GPUs (default: fp32)",
    )
    group.add_argument(
        "--set",
        type=_setting,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="any other value of pytorch_config.yaml, such as "
        "runner.optimizer.params.lr=1e-4; may be repeated",
    )


def _add_start(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--from-scratch", action="store_true", help="random weights; nothing is downloaded"
    )
    group.add_argument(
        "--snapshot", metavar="S", help="a pose snapshot; the epochs come on top of its own"
    )
    group.add_argument("--backbone-only", action="store_true", help="of --snapshot, without heads")
    group.add_argument("--detector-snapshot", metavar="S", help="a detector snapshot, likewise")
    group.add_argument(
        "--restart",
        action="store_true",
        help="begin anew; what earlier runs left is moved to a folder of its own",
    )


def _add_records(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--logger", choices=LOGGERS, help="beside train.txt and learning_stats.csv")
    group.add_argument(
        "--max-snapshots", type=_positive, metavar="N", help="kept beside the best one"
    )
    group.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    _refuse_contradictions(arguments)
    try:
        from .training_target import loader_of
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("dlc_deploy"):
            raise
        raise UnavailableError(
            f"Training needs {error.name}, which is not installed. "
            "Install it: pip install 'dlc-deploy[train]'."
        ) from error
    for source in arguments.register:
        register_models(source)
    with _warnings_shown():
        loader = loader_of(arguments)
        try:
            runs = _train(arguments, loader)
        except KeyboardInterrupt:
            _tell_interrupted(loader)
            return INTERRUPTED
    _report(arguments, loader, runs)
    return 0


def _tell_interrupted(loader: Loader) -> None:
    from .training_runs import runs_of

    unfinished = [run for run in runs_of(loader) if run.is_unfinished]
    what = "goes on with it" if unfinished else "begins anew, since no snapshot was written yet"
    print(f"\ninterrupted, and resumable: the same command {what}", file=sys.stderr)


def _refuse_contradictions(arguments: argparse.Namespace) -> None:
    if arguments.from_scratch and arguments.snapshot:
        raise UsageError("Expected --from-scratch or --snapshot, got both. Which weights?")
    if arguments.backbone_only and not arguments.snapshot:
        raise UsageError("--backbone-only needs a --snapshot to take the backbone from.")


def _train(arguments: argparse.Namespace, loader: Loader) -> list[ModelRun]:
    """Train what is not trained yet; all models of the configuration."""
    from ..apis.train_network import check_run, is_first_process, train_models
    from ..config.changes import changed_config
    from .training_runs import runs_of, set_aside

    changes = _changes(arguments, loader)
    source = str(loader.model_config_path)
    loader.model_cfg = changed_config(loader.model_cfg, changes, source)
    runs = runs_of(loader)
    options = _options(arguments, loader, runs)
    check_run(loader.model_cfg, options, source)
    if arguments.restart and is_first_process():
        anew = [run for run in _to_train(arguments, runs) if not _start(arguments, run)]
        folder = set_aside(loader, anew)
        if folder is not None:
            print(f"moved what earlier runs left to {folder}", file=sys.stderr)
    train_models(loader, changes, options)
    return runs


def _changes(arguments: argparse.Namespace, loader: Loader) -> dict[str, Any]:
    """New values of the configuration by their keys."""
    shared = {
        "train_settings.dataloader_workers": arguments.workers,
        "train_settings.seed": arguments.seed,
        "runner.gpus": arguments.gpus,
        "runner.snapshots.max_snapshots": arguments.max_snapshots,
    }
    changes = shared | {
        "train_settings.epochs": arguments.epochs,
        "train_settings.batch_size": arguments.batch_size,
    }
    if loader.model_cfg.get("detector"):
        own = shared | {"train_settings.epochs": arguments.detector_epochs}
        changes |= {f"detector.{key}": value for key, value in own.items()}
    elif arguments.detector_epochs is not None or arguments.detector_snapshot:
        raise UsageError(
            f"{loader.model_cfg['net_type']} has no detector: leave --detector-epochs and "
            "--detector-snapshot, or take a top-down model."
        )
    given = {key: value for key, value in changes.items() if value is not None}
    return given | dict(arguments.settings)


def _options(arguments: argparse.Namespace, loader: Loader, runs: list[ModelRun]) -> RunOptions:
    from ..apis.train_network import RunOptions
    from .training_runs import DETECTOR, POSE

    training = {run.what for run in _to_train(arguments, runs)}
    starts = {run.what: _start(arguments, run) for run in runs}
    logger = {"type": LOGGERS[arguments.logger]} if arguments.logger else None
    return RunOptions(
        device=arguments.device,
        snapshot_path=starts[POSE],
        detector_path=starts.get(DETECTOR),
        load_head_weights=not arguments.backbone_only,
        precision=arguments.precision,
        from_scratch=arguments.from_scratch,
        restart=arguments.restart,
        logger=logger and logger | {"run_name": str(loader.model_cfg["net_type"])},
        detector=DETECTOR in training,
        pose=POSE in training,
    )


def _start(arguments: argparse.Namespace, run: ModelRun) -> Path | None:
    """The snapshot that a model goes on from."""
    from .training_runs import POSE

    name = arguments.snapshot if run.what == POSE else arguments.detector_snapshot
    return None if name is None else run.resolve(name)


def _to_train(arguments: argparse.Namespace, runs: list[ModelRun]) -> list[ModelRun]:
    """Without those that were trained to the end, unless they are to be trained further."""
    wanted = [run for run in runs if run.epochs > 0]
    if arguments.restart:
        return wanted
    kept = [run for run in wanted if run.is_done and not _start(arguments, run)]
    if kept and kept == wanted:
        names = ", ".join(run.snapshots[-1].path.name for run in kept)
        raise UsageError(
            f"{kept[0].folder} is trained already ({names}). Go on from a snapshot with --snapshot "
            f"{kept[-1].snapshots[-1].path.name}, or begin anew with --restart."
        )
    return [run for run in wanted if run not in kept]


def _report(arguments: argparse.Namespace, loader: Loader, runs: list[ModelRun]) -> None:
    from ..apis.train_network import is_first_process
    from .training_report import Report

    if not is_first_process():
        return
    report = Report.of(loader, runs)
    if arguments.json:
        import json

        print(json.dumps(report.as_json(), indent=2))
        return
    if not report.rows:
        print(f"nothing was trained; the model is configured in {loader.model_config_path}")
        return
    from dlc_deploy.runtime.console import print_table

    print_table(report.table())
    print(f"snapshots in {loader.model_folder}")
    line = report.export_line()
    if line is not None:
        print(f"next: {line}")


@contextmanager
def _warnings_shown() -> Iterator[None]:
    """What this package warns of is shown on standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    logger = logging.getLogger("dlc_deploy")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _index(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 on, got {text!r}")
    return int(text)


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")
    return number


def _gpus(text: str) -> list[int]:
    numbers = text.split(",")
    if not all(number.isdecimal() for number in numbers) or len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"expected numbers of GPUs such as 0,1, got {text!r}")
    return [int(number) for number in numbers]


def _conditions(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _setting(text: str) -> tuple[str, Any]:
    from dlc_deploy import yaml12

    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {text!r}")
    try:
        return key, yaml12.load(value)
    except Exception as error:
        raise argparse.ArgumentTypeError(f"{key}: expected a value in YAML, got: {error}") from None

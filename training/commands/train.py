"""``dlc-train PROJECT_OR_COCO_DIR``: train a model, and go on where a run was cut off."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlc_deploy.arguments import needing
from dlc_deploy.errors import UsageError
from dlc_deploy.registration import register_models

from .training_arguments import LOGGERS, add_arguments

if TYPE_CHECKING:
    from ..apis.train_network import RunOptions
    from ..data.base import Loader
    from .training_runs import ModelRun

__all__ = ["DESCRIPTION", "add_arguments", "run"]

DESCRIPTION = (
    "Train a model on a DeepLabCut project or a COCO folder. The snapshots are DeepLabCut's own. "
    "A run that was cut off goes on when the same command is typed again."
)
INTERRUPTED = 130


def run(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    _refuse_contradictions(arguments)
    with needing("train", "Training"):
        from .training_target import loader_of
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
    if not any(run.epochs for run in runs):
        print(
            f"nothing was trained: {loader.model_config_path} asks for 0 epochs. Give --epochs N.",
            file=sys.stderr,
        )
    report = Report.of(loader, runs)
    if arguments.json:
        import json

        print(json.dumps(report.as_json(), indent=2))
        return
    if not report.rows:
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

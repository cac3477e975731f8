"""Runners from the ``runner`` section of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from dlc_deploy.choices import TrainingPrecision

from ..task import Task
from .base import TrainingRunner
from .detector import DetectorTrainingRunner
from .logger import BaseLogger
from .optimizers import build_optimizer
from .pose import PoseTrainingRunner
from .schedulers import build_scheduler
from .snapshots import TorchSnapshotManager
from .unfinished import UnfinishedRun


def build_training_runner(
    runner_config: Mapping[str, Any],
    model_folder: Path,
    task: Task,
    model: nn.Module,
    device: str,
    gpus: list[int] | None = None,
    snapshot_path: str | Path | None = None,
    load_head_weights: bool = True,
    logger: BaseLogger | None = None,
    *,
    precision: TrainingPrecision = "fp32",
    seed: int | None = None,
    unfinished: UnfinishedRun | None = None,
) -> TrainingRunner[Any]:
    """The runner that trains ``model`` for ``task``.

    Args:
        runner_config: the ``runner`` section.
        model_folder: where snapshots and the table of losses go.
        task: a detector's runner for ``Task.DETECT``, a pose model's for the others.
        model: trained in place.
        device: to train on.
        gpus: numbers of the GPUs to train on.
        snapshot_path: weights to start from.
        load_head_weights: take a pose model's heads from ``snapshot_path`` too.
        logger: told the losses and metrics of each epoch.
        precision: of the network.
        seed: of the random numbers of each epoch; None leaves them as they are.
        unfinished: where the state of the run is kept until it is complete.

    Raises:
        ConfigError: an unknown optimizer or scheduler, or settings that do not fit.
    """
    optimizer = build_optimizer(model.to(device), runner_config["optimizer"])
    options: dict[str, Any] = {
        "snapshot_manager": _snapshot_manager(runner_config, model_folder, task),
        "device": device,
        "gpus": gpus,
        "eval_interval": runner_config.get("eval_interval"),
        "snapshot_path": snapshot_path,
        "scheduler": build_scheduler(runner_config.get("scheduler"), optimizer),
        "load_scheduler_state_dict": runner_config.get("load_scheduler_state_dict", True),
        "logger": logger,
        "precision": precision,
        "seed": seed,
        "unfinished": unfinished,
    }
    if task is Task.DETECT:
        return DetectorTrainingRunner(model, optimizer, **options)
    return PoseTrainingRunner(model, optimizer, load_head_weights=load_head_weights, **options)


def snapshot_prefix(runner_config: Mapping[str, Any], task: Task) -> str:
    """How names of the snapshots begin."""
    return runner_config.get("snapshot_prefix") or task.snapshot_prefix


def _snapshot_manager(
    runner_config: Mapping[str, Any], model_folder: Path, task: Task
) -> TorchSnapshotManager:
    settings = runner_config["snapshots"]
    return TorchSnapshotManager(
        snapshot_prefix=snapshot_prefix(runner_config, task),
        model_folder=Path(model_folder),
        key_metric=runner_config.get("key_metric"),
        key_metric_asc=bool(runner_config.get("key_metric_asc", True)),
        max_snapshots=settings["max_snapshots"],
        save_epochs=settings["save_epochs"],
        save_optimizer_state=settings["save_optimizer_state"],
    )

"""Train the models of a DeepLabCut project (``train_network`` of ``apis/training.py``)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dlc_deploy.choices import TrainingPrecision
from dlc_deploy.errors import ConfigError, DlcDeployError, SnapshotError

from ..config import write_config
from ..config.changes import changed_config
from ..data.base import Loader
from ..data.dlcloader import DLCLoader
from ..devices import best_device, check_device, device_of
from ..runners.precision import check_precision
from ..task import Task
from ..whole_files import whole_file
from .train import train

LOG = "train.txt"
_PACKAGE = "dlc_deploy"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How the models of a configuration are trained, beside what it says itself.

    Attributes:
        device: to train on; None takes what the configuration says.
        snapshot_path: pose model to go on from.
        detector_path: detector to go on from.
        load_head_weights: take the heads' weights from ``snapshot_path`` too.
        max_snapshots_to_keep: of each model, beside the best one.
        precision: of the networks in training.
        from_scratch: draw the weights of backbones instead of taking those of ImageNet.
        restart: give up interrupted runs and begin anew.
        logger: type and arguments of a logger, instead of the configured one.
        detector: whether to train the detector of a top-down model.
        pose: whether to train the pose model.
    """

    device: str | None = None
    snapshot_path: str | Path | None = None
    detector_path: str | Path | None = None
    load_head_weights: bool = True
    max_snapshots_to_keep: int | None = None
    precision: TrainingPrecision = "fp32"
    from_scratch: bool = False
    restart: bool = False
    logger: Mapping[str, Any] | None = None
    detector: bool = True
    pose: bool = True


def train_network(
    config: str | Path | Mapping[str, Any],
    shuffle: int = 1,
    trainingsetindex: int = 0,
    modelprefix: str = "",
    device: str | None = None,
    snapshot_path: str | Path | None = None,
    detector_path: str | Path | None = None,
    load_head_weights: bool = True,
    batch_size: int | None = None,
    epochs: int | None = None,
    save_epochs: int | None = None,
    detector_batch_size: int | None = None,
    detector_epochs: int | None = None,
    detector_save_epochs: int | None = None,
    display_iters: int | None = None,
    max_snapshots_to_keep: int | None = None,
    pytorch_cfg_updates: Mapping[str, Any] | None = None,
    *,
    precision: TrainingPrecision = "fp32",
    from_scratch: bool = False,
    restart: bool = False,
) -> None:
    """Train the model of a shuffle; of a top-down model the detector first.

    Changes are written to the model's ``pytorch_config.yaml``, and messages to ``train.txt`` beside
    it. What was interrupted goes on when it is started again in the same way.

    Args:
        config: the project's ``config.yaml``, its folder, or the file's keys and values.
        shuffle: number of the shuffle.
        trainingsetindex: which of the project's ``TrainingFraction``.
        modelprefix: folder in the project that models are in, if it is not the project itself.
        device: ``cpu``, ``cuda:0`` or ``auto``; by default what the configuration says.
        snapshot_path: pose model to go on from; the epochs come on top of its own.
        detector_path: detector to go on from.
        load_head_weights: False takes only the backbone from ``snapshot_path``, for instance for
            other bodyparts.
        batch_size: of the pose model, instead of what the configuration says, as all that follow.
        epochs: of the pose model; 0 leaves it untrained.
        save_epochs: epochs from one snapshot of the pose model to the next.
        detector_batch_size: of the detector.
        detector_epochs: of the detector; 0 leaves it untrained.
        detector_save_epochs: epochs from one snapshot of the detector to the next.
        display_iters: steps from one message about the loss to the next.
        max_snapshots_to_keep: of each model, beside the best one; this is not written.
        pytorch_cfg_updates: other values by their key, such as ``{"runner.gpus": [0, 1]}``.
        precision: of the networks in training.
        from_scratch: draw the weights of backbones instead of taking those of ImageNet.
        restart: give up interrupted runs and begin anew.

    Raises:
        ConfigError: no such keys, or a configuration that no longer is one; nothing is written.
        InputError: no such shuffle, or labels that cannot be used.
        DlcDeployError: as :func:`train` raises it.
    """
    loader = DLCLoader(config, trainingsetindex, shuffle, modelprefix)
    changes = {
        "train_settings.batch_size": batch_size,
        "train_settings.epochs": epochs,
        "runner.snapshots.save_epochs": save_epochs,
        "train_settings.display_iters": display_iters,
    }
    if loader.model_cfg.get("detector"):
        changes |= {
            "detector.train_settings.batch_size": detector_batch_size,
            "detector.train_settings.epochs": detector_epochs,
            "detector.runner.snapshots.save_epochs": detector_save_epochs,
            "detector.train_settings.display_iters": display_iters,
        }
    given = {key: value for key, value in changes.items() if value is not None}
    train_models(
        loader,
        given | dict(pytorch_cfg_updates or {}),
        RunOptions(
            device=device,
            snapshot_path=snapshot_path,
            detector_path=detector_path,
            load_head_weights=load_head_weights,
            max_snapshots_to_keep=max_snapshots_to_keep,
            precision=precision,
            from_scratch=from_scratch,
            restart=restart,
        ),
    )


def train_models(loader: Loader, changes: Mapping[str, Any], options: RunOptions) -> None:
    """Change the configuration of ``loader`` and train its models, the detector first.

    Args:
        loader: of a project, or of a folder in COCO's format.
        changes: new values by their key, such as ``{"train_settings.epochs": 50}``.
        options: how.

    Raises:
        as :func:`train_network`.
    """
    source = str(loader.model_config_path)
    config = changed_config(loader.model_cfg, changes, source)
    check_run(config, options, source)
    loader.model_cfg = config
    with _written(loader, config, changes), _logged(loader.model_folder / LOG):
        if options.detector and loader.pose_task is Task.TOP_DOWN and config.get("detector"):
            _train_detector(loader, config, options)
        if options.pose and config["train_settings"]["epochs"] > 0:
            _log.info("Training the pose model %s.", config["net_type"])
            train(
                loader,
                config,
                loader.pose_task,
                snapshot_path=options.snapshot_path,
                logger_config=_logger(config, options),
                load_head_weights=options.load_head_weights,
                **_shared(options),
            )


@contextmanager
def _written(loader: Loader, config: dict[str, Any], changes: Mapping[str, Any]) -> Iterator[None]:
    """The changed configuration is in its file, to stay unless it is refused untrained.

    The snapshots that are there already could not be read with a configuration that builds no
    model, and whoever corrects the command would meet the refused value again.
    """
    if not changes or not is_first_process():
        yield
        return
    path = loader.model_config_path
    former, snapshots = path.read_bytes(), _snapshots(path.parent)
    with whole_file(path) as partial:
        write_config(partial, config)
    try:
        yield
    except DlcDeployError:
        if _snapshots(path.parent) == snapshots:
            with whole_file(path) as partial:
                partial.write_bytes(former)
        raise


def _snapshots(folder: Path) -> set[tuple[str, int]]:
    """Names of snapshots and when each was written."""
    return {(path.name, path.stat().st_mtime_ns) for path in folder.glob("*.pt")}


def check_run(config: Mapping[str, Any], options: RunOptions, source: str) -> None:
    """Refuse what could not be trained, before anything is written.

    Args:
        config: the whole configuration.
        options: how it is to be trained.
        source: names the configuration in errors.

    Raises:
        ConfigError: the configuration asks for what is not offered, or contradicts ``options``, or
            the device is none.
        UnavailableError: a device that is not on this machine, or a precision it does not have.
        SnapshotError: a snapshot that is not there.
    """
    weight_init = config["train_settings"].get("weight_init") or {}
    if weight_init.get("memory_replay"):
        raise ConfigError(
            f"{source}: expected train_settings.weight_init without memory_replay, which only "
            "DeepLabCut itself offers. Set it to false to fine-tune without, or train there."
        )
    for path in (options.snapshot_path, options.detector_path):
        if path is not None and not Path(path).is_file():
            raise SnapshotError(f"{path}: expected a snapshot to go on from, found no such file.")
    gpus = config["runner"].get("gpus") or []
    device = options.device or config.get("device") or "auto"
    if device == "auto":
        device = best_device(config.get("net_type", ""))
    for one in [device, *(f"cuda:{number}" for number in gpus if device != "cpu")]:
        check_device(one)
    check_precision(options.precision, torch.device(device_of(device, gpus)))


def _train_detector(loader: Loader, config: Mapping[str, Any], options: RunOptions) -> None:
    """The detector is trained on the device, and from the weights, that the pose model names."""
    section = deepcopy(config["detector"])
    if section["train_settings"]["epochs"] == 0:
        return
    section["device"] = config.get("device")
    section["train_settings"]["weight_init"] = config["train_settings"].get("weight_init")
    logger = _logger(config, options)
    if logger and logger.get("run_name"):
        logger = {**logger, "run_name": f"{logger['run_name']}-detector"}
    _log.info("Training the detector %s.", section["model"]["type"])
    train(
        loader,
        section,
        Task.DETECT,
        snapshot_path=options.detector_path,
        logger_config=logger,
        **_shared(options),
    )


def _logger(config: Mapping[str, Any], options: RunOptions) -> Mapping[str, Any] | None:
    logger: Mapping[str, Any] | None = options.logger or config.get("logger")
    return logger


def _shared(options: RunOptions) -> dict[str, Any]:
    return {
        "device": options.device,
        "max_snapshots_to_keep": options.max_snapshots_to_keep,
        "precision": options.precision,
        "from_scratch": options.from_scratch,
        "restart": options.restart,
    }


def is_first_process() -> bool:
    """Whether this process writes files and tells people, of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """What this package says in the block is written to ``path``, after what is there already."""
    if not is_first_process():
        yield
        return
    logger = logging.getLogger(_PACKAGE)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(min(logger.getEffectiveLevel(), logging.INFO))
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()

"""Train a model on the images of a loader: DeepLabCut's ``apis/training.py``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

from dlc_deploy.choices import TrainingPrecision
from dlc_deploy.errors import ConfigError
from dlc_deploy.runtime.parallel import available_cores

from ..data.base import Loader, Transform
from ..data.collate import COLLATE_FUNCTIONS, join
from ..data.dataset import PoseDataset
from ..data.transforms import build_transforms
from ..devices import best_device, check_device, device_of, device_of_detector
from ..models import PoseModel
from ..models.detectors import DETECTORS
from ..models.weight_transfer import WeightInitialization
from ..runners import LOGGER, BaseLogger, build_training_runner
from ..runners.batch_norms import batch_norms_learn
from ..runners.build import snapshot_prefix
from ..runners.parallel import Processes, process_group
from ..runners.seeding import EpochBatches, SeededCollate, SeededDataset, fix_seeds
from ..runners.unfinished import UnfinishedRun, fingerprint, fingerprint_of_labels
from ..task import Task

_log = logging.getLogger(__name__)


def train(
    loader: Loader,
    run_config: Mapping[str, Any],
    task: Task,
    device: str | None = "cpu",
    gpus: list[int] | None = None,
    logger_config: Mapping[str, Any] | None = None,
    snapshot_path: str | Path | None = None,
    transform: Transform | None = None,
    inference_transform: Transform | None = None,
    max_snapshots_to_keep: int | None = None,
    load_head_weights: bool = True,
    *,
    precision: TrainingPrecision = "fp32",
    from_scratch: bool = False,
    restart: bool = False,
) -> None:
    """Build the model of a configuration and fit it to the images of a loader.

    A run that was interrupted goes on from its last snapshot when it is started again in the same
    way, and ends as it would have ended. Under torchrun every process trains on its part.

    Args:
        loader: the images, and the folder that snapshots go to.
        run_config: the model's configuration; the ``detector`` section of it for a detector.
        task: what is trained.
        device: to train on; ``auto`` takes a GPU where there is one, None what ``run_config`` says.
        gpus: numbers of GPUs to train on, by default those of the ``runner`` section.
        logger_config: type and arguments of a logger beside the table of losses.
        snapshot_path: weights to start from (by default ``resume_training_from``); the epochs come
            on top of those of the snapshot.
        transform: of training images instead of the configured one.
        inference_transform: of test images instead of the configured one.
        max_snapshots_to_keep: instead of the configured number.
        load_head_weights: take the heads' weights from ``snapshot_path`` too.
        precision: of the network in training.
        from_scratch: draw the weights of the backbone instead of taking those of ImageNet.
        restart: give up an interrupted run and begin anew.

    Raises:
        ConfigError: the configuration contradicts itself, or an interrupted run had another one.
        SnapshotError: ``snapshot_path`` is no snapshot of this model.
        UnavailableError: the device, its precision or a logger's package is not there.
        DlcDeployError: the loss is not finite any more.
    """
    config = deepcopy(dict(run_config))
    if max_snapshots_to_keep is not None:
        config["runner"]["snapshots"]["max_snapshots"] = max_snapshots_to_keep
    gpus = config["runner"].get("gpus") if gpus is None else gpus
    start = snapshot_path or config.get("resume_training_from")
    chosen = device_of(_device(device, config, task), gpus)
    settings = _Settings.of(config, from_scratch=from_scratch, snapshot=start is not None)
    with process_group(chosen, gpus) as own_device, ExitStack() as stack:
        datasets = _datasets(loader, config, task, transform, inference_transform)
        unfinished = UnfinishedRun.of(
            loader.model_folder,
            snapshot_prefix(config["runner"], task),
            _fingerprints(loader, config, precision, start),
        )
        state = None if restart else unfinished.load()
        fix_seeds(settings.seed)
        model = _build_model(config, task, settings, with_weights=state is not None)
        _warn_of_idle_batch_norms(model, settings)
        logger = _logger(logger_config, model, loader.model_folder)
        if logger is not None:
            stack.callback(logger.close)
            if state is not None:
                logger.go_on(state["metadata"]["epoch"])
            logger.log_config(config)
        runner = build_training_runner(
            config["runner"],
            loader.model_folder,
            task,
            model,
            own_device,
            gpus,
            snapshot_path=None if state else start,
            load_head_weights=load_head_weights,
            logger=logger,
            precision=precision,
            seed=settings.seed,
            unfinished=unfinished,
        )
        if state is not None:
            runner.go_on(state)
            _log.warning("Going on with the unfinished run at epoch %d.", runner.current_epoch)
        if restart and Processes.current().writes:
            unfinished.remove()
        loaders = _dataloaders(datasets, config, settings, batch_norms_learn(model))
        runner.fit(*loaders, epochs=settings.epochs, display_iters=settings.display_iters)


@dataclass(frozen=True, slots=True)
class _Settings:
    """``train_settings``, and what follows from other sections."""

    batch_size: int
    workers: int
    pin_memory: bool
    display_iters: int
    epochs: int
    seed: int
    weights: WeightInitialization | None
    pretrained: bool
    all_random: bool

    @classmethod
    def of(cls, config: Mapping[str, Any], *, from_scratch: bool, snapshot: bool) -> _Settings:
        given = config["train_settings"]
        if given["batch_size"] < 1 or given["display_iters"] < 1:
            raise ConfigError(
                "train_settings: expected batch_size and display_iters from 1 on, got "
                f"{given['batch_size']} and {given['display_iters']}."
            )
        section = given.get("weight_init")
        return cls(
            batch_size=given["batch_size"],
            # More would only take the cores from each other; the results do not depend on it.
            workers=min(given.get("dataloader_workers") or 0, available_cores()),
            pin_memory=bool(given.get("dataloader_pin_memory")),
            display_iters=given["display_iters"],
            epochs=given["epochs"],
            seed=given.get("seed") or 0,
            weights=WeightInitialization.from_dict(section) if section else None,
            pretrained=not from_scratch and not snapshot,
            all_random=from_scratch and not snapshot,
        )


def _device(device: str | None, config: Mapping[str, Any], task: Task) -> str:
    """``device`` as torch names it; detectors do not train on ``mps``, as in DeepLabCut.

    Raises:
        UnavailableError: there is no such device here.
    """
    wanted = device or config.get("device") or "auto"
    if wanted == "auto":
        wanted = best_device(config.get("net_type", ""))
    if task is Task.DETECT:
        wanted = device_of_detector(wanted)
    check_device(wanted)
    return wanted


def _datasets(
    loader: Loader,
    config: Mapping[str, Any],
    task: Task,
    transform: Transform | None,
    inference_transform: Transform | None,
) -> tuple[PoseDataset, PoseDataset]:
    """What is trained on, and what is tested on."""
    data = config["data"]
    transform = transform or build_transforms(data["train"])
    inference_transform = inference_transform or build_transforms(data["inference"])
    train_set = loader.create_dataset(transform, "train", task)
    test_set = loader.create_dataset(inference_transform, "test", task)
    _log.info("%d images to train on, %d to test on", len(train_set), len(test_set))
    return train_set, test_set


def _dataloaders(
    datasets: tuple[PoseDataset, PoseDataset],
    config: Mapping[str, Any],
    settings: _Settings,
    spread_single: bool,
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    train_set, test_set = datasets
    processes = Processes.current()
    batches = EpochBatches(
        len(train_set),
        settings.batch_size,
        settings.seed,
        process=(processes.rank, processes.count),
        spread_single=spread_single,
    )
    collate = config["data"]["train"].get("collate")
    own_test_set = Subset(test_set, range(processes.rank, len(test_set), processes.count))
    return DataLoader(
        SeededDataset(train_set),
        batch_sampler=batches,
        collate_fn=SeededCollate(COLLATE_FUNCTIONS.build(collate) if collate else None),
        num_workers=settings.workers,
        pin_memory=settings.pin_memory,
        persistent_workers=settings.workers > 0,
        worker_init_fn=_start_worker,
        # Of its own: a loader with workers draws from it less often than one without.
        generator=torch.Generator(),
    ), DataLoader(own_test_set, batch_size=1, collate_fn=join)


def _start_worker(number: int) -> None:
    cv2.setNumThreads(0)  # its threads would take the cores of the other workers


def _build_model(
    config: Mapping[str, Any], task: Task, settings: _Settings, *, with_weights: bool
) -> nn.Module:
    """The model with the weights it starts from, unless it gets others ``with_weights``."""
    given = settings.weights
    path = given and (given.detector_snapshot_path if task is Task.DETECT else given.snapshot_path)
    weights = None if with_weights or path is None else given
    pretrained = settings.pretrained and not with_weights and path is None
    if task is not Task.DETECT:
        return PoseModel.build(config["model"], weights, pretrained_backbone=pretrained)
    detector = DETECTORS.build(config["model"], weights, pretrained=pretrained)
    if settings.all_random and path is None:
        detector.requires_grad_(True)  # first layers too, which others bring along
    return detector


def _warn_of_idle_batch_norms(model: nn.Module, settings: _Settings) -> None:
    """Frozen statistics of ImageNet are worth something; frozen ones of nothing only pass on."""
    backbone = getattr(model, "backbone", model)
    norms = any(isinstance(part, nn.BatchNorm2d) for part in backbone.modules())
    if settings.all_random and norms and getattr(backbone, "freeze_bn_stats", False):
        _log.warning(
            "From scratch with frozen batch norms: they keep the statistics they are born with. "
            "Let them learn with freeze_bn_stats: false (model.backbone, or detector.model)."
        )


def _logger(
    logger_config: Mapping[str, Any] | None, model: nn.Module, folder: Path
) -> BaseLogger | None:
    if not logger_config or not Processes.current().writes:
        return None
    return LOGGER.build(logger_config, model=model, train_folder=folder)


_FREE = {
    *("epochs", "display_iters", "dataloader_workers", "dataloader_pin_memory"),
    *("snapshots", "device", "gpus", "load_weights_only"),
}
"""Of ``train_settings`` and ``runner``: what may change while a run is interrupted."""


def _fingerprints(
    loader: Loader, config: Mapping[str, Any], precision: str, start: str | Path | None
) -> dict[str, str]:
    """Digests of all that decides how a run ends, by what it is called."""
    given = config["train_settings"]
    parts = {
        "model": config["model"],
        "data": config["data"],
        "runner": {key: config["runner"][key] for key in config["runner"] if key not in _FREE},
        "train_settings": {key: given[key] for key in given if key not in _FREE},
        "precision": precision,
        "snapshot_path": None if start is None else Path(start).name,
        "number of processes": Processes.current().count,
    }
    labels = {
        f"labels of the {mode} set": fingerprint_of_labels(loader.labels(mode))
        for mode in ("train", "test")
    }
    return {name: fingerprint(part) for name, part in parts.items()} | labels

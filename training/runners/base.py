"""Loops over epochs, whatever is trained."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader

from dlc_deploy.choices import TrainingPrecision
from dlc_deploy.errors import ConfigError

from ..devices import device_of
from ..snapshots import load_snapshot, load_weights
from .batch_norms import single_values_explained
from .csv_log import CSVLogger
from .display import EpochReport, TrainingDisplay
from .logger import BaseLogger, ImageLoggerMixin
from .losses import EpochLosses, mean_losses
from .optimizers import build_optimizer, load_optimizer_state
from .parallel import Processes, interleaved, replicate, share_buffers
from .precision import MixedPrecision, check_precision
from .schedulers import (
    build_scheduler,
    continue_scheduler,
    load_scheduler_state,
    step_scheduler,
)
from .seeding import derive_seed, fix_seeds
from .snapshots import TorchSnapshotManager
from .unfinished import State, UnfinishedRun

Model = TypeVar("Model", bound=nn.Module)
StepMode = Literal["train", "eval"]
Losses = dict[str, torch.Tensor]

_log = logging.getLogger(__name__)


class TrainingRunner(ABC, Generic[Model]):
    """Fits a model to a dataset: DeepLabCut's ``runners/train.py``, under its names.

    Args:
        model: trained in place.
        optimizer: over its parameters, or the configuration of one.
        snapshot_manager: saves the epochs that are worth it.
        device: to train on.
        gpus: numbers of the GPUs to train on.
        eval_interval: epochs from one evaluation to the next; 0 or None never evaluates.
        snapshot_path: weights to start from, perhaps with states of optimizer and scheduler; the
            epochs of :meth:`fit` then come on top of those of the snapshot.
        scheduler: of the learning rate, or the configuration of one.
        load_scheduler_state_dict: whether the scheduler goes on where the snapshot's was.
        logger: told the losses and metrics of each epoch.
        log_filename: of the table of losses and metrics in the model's folder.
        precision: of the network.
        seed: of the random numbers of each epoch; None leaves them as they are.
        unfinished: where the state of the run is kept until it is complete.

    Attributes:
        current_epoch: epochs trained so far.
        starting_epoch: epochs of the snapshot that the run began with.
        history: mean total losses: ``train_loss`` of each epoch, ``eval_loss`` of each evaluation.

    Raises:
        ConfigError, UnavailableError: settings that contradict each other or the machine.
        SnapshotError: ``snapshot_path`` does not fit the model.
    """

    LOG_FILENAME = "learning_stats.csv"

    def __init__(
        self,
        model: Model,
        optimizer: Mapping[str, Any] | torch.optim.Optimizer,
        snapshot_manager: TorchSnapshotManager,
        device: str = "cpu",
        gpus: list[int] | None = None,
        eval_interval: int | None = 1,
        snapshot_path: str | Path | None = None,
        scheduler: Mapping[str, Any] | LRScheduler | None = None,
        load_scheduler_state_dict: bool = True,
        logger: BaseLogger | None = None,
        log_filename: str | None = None,
        *,
        precision: TrainingPrecision = "fp32",
        seed: int | None = None,
        unfinished: UnfinishedRun | None = None,
    ) -> None:
        self.device = torch.device(device_of(device, gpus))
        check_precision(precision, self.device)
        self.model = model.to(self.device)
        if not isinstance(optimizer, torch.optim.Optimizer):
            optimizer = build_optimizer(model, optimizer)
        self.optimizer = optimizer
        if not isinstance(scheduler, LRScheduler):
            scheduler = build_scheduler(scheduler, optimizer)
        self.scheduler = scheduler
        self.snapshot_manager = snapshot_manager
        self.eval_interval = eval_interval or 0
        self.logger = logger
        self.seed = seed
        self.history: dict[str, list[float]] = {"train_loss": [], "eval_loss": []}
        self.starting_epoch = self.current_epoch = 0
        self._gpus = gpus
        self._precision = MixedPrecision(precision, self.device)
        self._processes = Processes.current()
        self._unfinished = unfinished
        self._network: nn.Module = model
        self._log_path = snapshot_manager.model_folder / (log_filename or self.LOG_FILENAME)
        self._table_until: int | None = 0
        self._metadata: dict[str, Any] = {"epoch": 0, "metrics": {}, "losses": {}}
        if snapshot_path is not None:
            self._start_from(Path(snapshot_path), load_scheduler_state_dict)

    @abstractmethod
    def step(self, batch: Mapping[str, Any], mode: StepMode = "train") -> Losses:
        """One step on ``batch``; the losses, detached, with what was minimised as ``total_loss``.

        ``eval`` changes no weights, and collects what :meth:`fit` computes the metrics of.
        """

    @abstractmethod
    def _collected(self) -> list[Any]:
        """What the ``eval`` steps collected, an entry for each image; none is kept."""

    @abstractmethod
    def _metrics(self, collected: list[Any]) -> dict[str, float]:
        """Metrics of an evaluation by DeepLabCut's names (``mAP``)."""

    def fit(
        self,
        train_loader: DataLoader[Any],
        valid_loader: DataLoader[Any],
        epochs: int,
        display_iters: int = 500,
    ) -> None:
        """Train for ``epochs``, after those of the snapshot that the run began with.

        Args:
            train_loader: batches to learn from.
            valid_loader: batches to evaluate on; without any there is no evaluation.
            epochs: times that all batches are seen.
            display_iters: steps from one message about the loss to the next.

        Raises:
            DlcDeployError: the loss is not finite any more.
        """
        if len(train_loader) == 0:
            raise ConfigError("Expected images to train on, got none. Check the training set.")
        self.model.train()  # freezes what is to be frozen before the processes compare gradients
        self._network = replicate(self.model, self._gpus)
        last = self.starting_epoch + epochs
        evaluates = self._evaluates(valid_loader)
        log = CSVLogger.open(self._log_path, until=self._table_until)
        if isinstance(self.logger, ImageLoggerMixin):
            self.logger.select_images_to_log(train_loader, valid_loader)
        with TrainingDisplay(last, len(train_loader), shown=self._processes.writes) as display:
            for epoch in range(self.current_epoch + 1, last + 1):
                self._begin_epoch(epoch, train_loader)
                report = self._train_epoch(train_loader, display, display_iters)
                if evaluates and epoch % self.eval_interval == 0:
                    report = report.with_evaluation(*self._evaluate(valid_loader))
                self._end_epoch(report, log, last=epoch == last)
                display.end_epoch(report)
        if self._unfinished is not None and self._processes.writes:
            self._unfinished.remove()

    def state_dict(self) -> State:
        """DeepLabCut's layout of a snapshot, with the optimizer's state."""
        state: State = {"metadata": self._metadata, "model": self.model.state_dict()}
        state["optimizer"] = self.optimizer.state_dict()
        if self.scheduler is not None:
            state["scheduler"] = self.scheduler.state_dict()
        return state

    def go_on(self, state: State) -> None:
        """Take over what an unfinished run left, so that this one ends as that would have."""
        load_weights(self.model, state["model"], "the unfinished run")
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None:
            load_scheduler_state(self.scheduler, state["scheduler"])
        self._precision.load_state_dict(state["precision"])
        self.snapshot_manager.best_metric = state["best_metric"]
        self._metadata = state["metadata"]
        self.history = state["history"]
        self.starting_epoch = state["starting_epoch"]
        self._table_until = state["metadata"]["epoch"]
        self.current_epoch = state["metadata"]["epoch"]

    def _load_weights(self, state: Mapping[str, torch.Tensor], source: str) -> None:
        load_weights(self.model, state, source)

    def _start_from(self, path: Path, with_scheduler: bool) -> None:
        snapshot = load_snapshot(path)
        self._load_weights(snapshot.model, str(path))
        epoch = int(snapshot.metadata.get("epoch", 0))
        self.starting_epoch = self.current_epoch = self._metadata["epoch"] = epoch
        self._table_until = None
        if snapshot.optimizer is not None:
            load_optimizer_state(self.optimizer, snapshot.optimizer, str(path))
        if self.scheduler is not None:
            state = snapshot.scheduler if with_scheduler else None
            continue_scheduler(self.scheduler, state, epoch)

    def _evaluates(self, valid_loader: DataLoader[Any]) -> bool:
        if self.eval_interval == 0:
            return False
        if any(self._processes.gather(len(valid_loader))):
            return True
        if self._processes.writes:
            _log.warning("The test set is empty: the model is trained, but never evaluated.")
        return False

    def _begin_epoch(self, epoch: int, loader: DataLoader[Any]) -> None:
        self.current_epoch = self._metadata["epoch"] = epoch
        for sampler in (loader.batch_sampler, loader.sampler):
            set_epoch = getattr(sampler, "set_epoch", None)
            if set_epoch is not None:
                set_epoch(epoch)
        if self.seed is not None:
            fix_seeds(derive_seed(self.seed, epoch, self._processes.rank))

    def _train_epoch(
        self, loader: DataLoader[Any], display: TrainingDisplay, display_iters: int
    ) -> EpochReport:
        self.model.train()
        self._network.train()
        rate = float(self.optimizer.param_groups[0]["lr"])
        losses = EpochLosses()
        # A look at a loss waits for a GPU; on a CPU it costs nothing.
        interval = 1 if self._looks_often() else display_iters
        for batch in loader:
            with single_values_explained():
                losses.add(self.step(batch, "train"), batch.get("path", ()))
            if len(losses) % interval == 0:
                losses.check(self.current_epoch)
                display.step(self.current_epoch, len(losses), losses.latest(), rate)
            if len(losses) % display_iters == 0 and self._processes.writes:
                _log.info("step %d: loss %.5f, lr %g", len(losses), losses.latest(), rate)
        losses.check(self.current_epoch)
        means = mean_losses(self._processes.gather(losses.arrays()))
        if self.scheduler is not None:
            step_scheduler(self.scheduler, means["total_loss"])
        self.history["train_loss"].append(means["total_loss"])
        found = {f"train.{name}": value for name, value in means.items()}
        return EpochReport(self.current_epoch, rate, found, {})

    def _looks_often(self) -> bool:
        return self.device.type == "cpu"

    @torch.no_grad()
    def _evaluate(self, loader: DataLoader[Any]) -> tuple[dict[str, float], dict[str, float]]:
        """Mean losses and metrics of the test set."""
        share_buffers(self.model)
        self.model.eval()
        network, self._network = self._network, self.model
        losses = EpochLosses()
        for batch in loader:
            losses.add(self.step(batch, "eval"))
        self._network = network
        parts = self._processes.gather((losses.arrays(), self._collected()))
        means = mean_losses([part[0] for part in parts])
        collected = interleaved([part[1] for part in parts])
        metrics = self._processes.from_first(
            self._metrics(collected) if self._processes.writes else {}
        )
        self.history["eval_loss"].append(means.get("total_loss", float("nan")))
        return (
            {f"eval.{name}": value for name, value in means.items()},
            {f"metrics/test.{name}": float(value) for name, value in metrics.items()},
        )

    def _end_epoch(self, report: EpochReport, log: CSVLogger, *, last: bool) -> None:
        """Write what the epoch brought; the table first, since the snapshot ends the epoch."""
        self._metadata["losses"] |= report.losses
        if report.metrics:
            self._metadata["metrics"] = report.metrics
        if not self._processes.writes:
            return
        log.log(report.values(), step=report.epoch)
        if self.logger is not None:
            self.logger.log(report.values(), step=report.epoch)
        if not self.snapshot_manager.is_due(report.epoch, self.state_dict(), last):
            return
        unfinished = None if last else self._unfinished
        if unfinished is not None:
            unfinished.begin()
        self.snapshot_manager.update(report.epoch, self.state_dict(), last=last)
        if unfinished is not None:
            unfinished.save(self._whole_state())

    def _whole_state(self) -> State:
        return self.state_dict() | {
            "precision": self._precision.state_dict(),
            "best_metric": self.snapshot_manager.best_metric,
            "history": self.history,
            "starting_epoch": self.starting_epoch,
        }

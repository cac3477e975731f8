"""Learning rates that change from epoch to epoch."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from dlc_deploy.errors import ConfigError

_log = logging.getLogger(__name__)


class LRListScheduler(LRScheduler):
    """Sets the learning rate at given epochs and keeps it in between.

    As deeplabcut's ``runners/schedulers.py`` means it: ``milestones[i]`` is the number of epochs
    done when ``lr_list[i]`` takes effect.

    Args:
        optimizer: whose learning rates change.
        milestones: epochs.
        lr_list: for each milestone the learning rate of every parameter group.
        last_epoch: epochs done, -1 before training.

    Raises:
        ConfigError: the lists do not fit each other or the optimizer.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        milestones: Sequence[int],
        lr_list: Sequence[Sequence[float]],
        last_epoch: int = -1,
    ) -> None:
        self.milestones = list(milestones)
        self.lr_list = [list(rates) for rates in lr_list]
        groups = len(optimizer.param_groups)
        sizes = {len(rates) for rates in self.lr_list}
        if len(self.milestones) != len(self.lr_list) or sizes - {groups}:
            raise ConfigError(
                f"LRListScheduler: expected a list of {groups} learning rate(s) for each of the "
                f"milestones {self.milestones}, got lr_list {self.lr_list}."
            )
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """Learning rate of each parameter group for the epoch that begins."""
        if self.last_epoch in self.milestones:
            return [*self.lr_list[self.milestones.index(self.last_epoch)]]
        return [group["lr"] for group in self.optimizer.param_groups]


def build_scheduler(
    scheduler_cfg: Mapping[str, Any] | None, optimizer: torch.optim.Optimizer
) -> LRScheduler | None:
    """The scheduler that ``type`` and ``params`` describe; None without a configuration.

    Any class of ``torch.optim.lr_scheduler`` will do; a parameter may be a scheduler itself, or a
    list of them (SequentialLR, ChainedScheduler).

    Raises:
        ConfigError: an unknown class, or parameters it does not take.
    """
    if scheduler_cfg is None:
        return None
    cls = _scheduler_class(scheduler_cfg.get("type"))
    params = {
        name: _nested(value, optimizer)
        for name, value in (scheduler_cfg.get("params") or {}).items()
    }
    takes_optimizer = "optimizer" in inspect.signature(cls).parameters
    try:
        built = cls(**({"optimizer": optimizer} if takes_optimizer else {}) | params)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"scheduler {cls.__name__}: {error}. Check runner.scheduler.params."
        ) from None
    assert isinstance(built, LRScheduler)
    return built


def load_scheduler_state(scheduler: LRScheduler, state: Mapping[str, Any]) -> None:
    """Go on where ``state`` was saved; the optimizer gets the learning rates of that moment.

    Raises:
        ConfigError: the state is of another kind of scheduler, or of other parameter groups.
    """
    # Releases of torch differ in what else they keep to themselves.
    needed = {"_last_lr", "_schedulers"}
    own = {key for key in scheduler.state_dict() if not key.startswith("_") or key in needed}
    missing = sorted(own - state.keys())
    rates = state.get("_last_lr", [])
    groups = scheduler.optimizer.param_groups
    if missing or len(rates) != len(groups):
        raise ConfigError(
            f"Expected the state of a {type(scheduler).__name__} with {len(groups)} learning "
            f"rate(s), got {len(rates)} of them and none of the keys {', '.join(missing) or '-'}."
        )
    scheduler.load_state_dict(dict(state))
    for group, rate in zip(groups, scheduler.get_last_lr(), strict=True):
        group["lr"] = rate


def continue_scheduler(scheduler: LRScheduler, state: Mapping[str, Any] | None, epoch: int) -> None:
    """Go on after ``epoch`` with the ``state`` of a snapshot where there is one that fits, else
    with the configured schedule from that epoch on, as DeepLabCut does."""
    if state is not None:
        try:
            load_scheduler_state(scheduler, state)
            return
        except ConfigError as error:
            _log.warning("The schedule of the snapshot is not continued: %s", error)
    scheduler.last_epoch = epoch


def _scheduler_class(name: object) -> type[Any]:
    if name == "LRListScheduler":
        return LRListScheduler
    cls = getattr(lr_scheduler, name, None) if isinstance(name, str) else None
    if not inspect.isclass(cls) or not issubclass(cls, LRScheduler) or cls is LRScheduler:
        raise ConfigError(
            "runner.scheduler.type: expected LRListScheduler or a class of "
            "torch.optim.lr_scheduler (StepLR, CosineAnnealingLR, SequentialLR, ...), "
            f"got {name!r}."
        )
    return cls


def step_scheduler(scheduler: LRScheduler, train_loss: float) -> None:
    """An epoch has ended with this mean loss, which decides where a plateau begins."""
    if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
        scheduler.step(train_loss)
    else:
        scheduler.step()


def _nested(value: Any, optimizer: torch.optim.Optimizer) -> Any:
    if isinstance(value, list):
        return [_nested(one, optimizer) for one in value]
    if isinstance(value, Mapping) and "type" in value:
        return build_scheduler(value, optimizer)
    return value

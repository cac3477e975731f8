"""Optimizers by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from dlc_deploy.errors import ConfigError, SnapshotError


def build_optimizer(model: nn.Module, optimizer_config: Mapping[str, Any]) -> torch.optim.Optimizer:
    """The class of ``torch.optim`` that ``type`` names, over all parameters of ``model``.

    Args:
        model: what will be trained.
        optimizer_config: ``type``, and ``params`` for its constructor.

    Raises:
        ConfigError: an unknown class, one that cannot step by itself, or parameters it does not
            take.
    """
    name = optimizer_config.get("type")
    cls: Any = getattr(torch.optim, name, None) if isinstance(name, str) else None
    usable = inspect.isclass(cls) and issubclass(cls, torch.optim.Optimizer)
    # L-BFGS evaluates the loss several times a step, which a training loop does not offer.
    if not usable or cls in (torch.optim.Optimizer, torch.optim.LBFGS):
        raise ConfigError(
            "runner.optimizer.type: expected a class of torch.optim (AdamW, SGD, ...), "
            f"got {name!r}."
        )
    try:
        built = cls(params=model.parameters(), **(optimizer_config.get("params") or {}))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"optimizer {name}: {error}. Check runner.optimizer.params.") from None
    assert isinstance(built, torch.optim.Optimizer)
    return built


def load_optimizer_state(
    optimizer: torch.optim.Optimizer, state: dict[str, Any], source: str
) -> None:
    """Go on with moments and learning rates of ``state``; ``source`` names it in the error.

    Raises:
        SnapshotError: the state of another optimizer, or of another model.
    """
    try:
        optimizer.load_state_dict(state)
    except (ValueError, KeyError) as error:
        raise SnapshotError(
            f"{source}: the state of its optimizer does not fit the configured one: {error}. "
            "Configure the optimizer that the snapshot was trained with."
        ) from None

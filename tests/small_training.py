"""A model of the zoo's kind that trains in a blink, by its net type ``small``."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from dlc_deploy.training.config import recipes
from dlc_deploy.training.config.backbones import Backbone
from tests.small import CHANNELS

NET_TYPE = "small"
BACKBONE = Backbone({"type": "SmallBackbone"}, CHANNELS)


def register_small_model(patch: pytest.MonkeyPatch) -> None:
    """Make ``small`` and ``top_down_small`` net types until the end of the test."""
    recipe = recipes.BackboneRecipe(BACKBONE, recipes.FAST)
    patch.setitem(recipes.BACKBONES, NET_TYPE, recipe)


def recorded_trainings(patch: pytest.MonkeyPatch, module: ModuleType) -> list[Any]:
    """What ``train`` of ``module`` is called with from now on, instead of training."""
    made: list[Any] = []
    patch.setattr(
        module, "train", lambda loader, config, task, **more: made.append((config, task, more))
    )
    return made


def allow_every_machine(patch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """``module`` finds every device and precision there."""
    patch.setattr(module, "check_device", lambda device: None)
    patch.setattr(module, "check_precision", lambda precision, device: None)

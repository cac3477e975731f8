"""A model of the zoo's kind that trains in a blink, by its net type ``small``."""

from __future__ import annotations

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

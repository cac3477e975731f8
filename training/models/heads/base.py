"""What every head is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from dlc_deploy.errors import ConfigError

from ...snapshots import State
from ..criterions import BaseCriterion, BaseLossAggregator
from ..predictors import BasePredictor
from ..registry import Registry
from ..target_generators import BaseGenerator
from ..weight_init import BaseWeightInitializer, build_weight_init


class BaseHead(ABC, nn.Module):
    """Features to named outputs, with all that belongs to them.

    Attributes:
        stride: how many output cells a feature cell becomes; negative where the head reduces.
        predictor: outputs to keypoints.
        target_generator: labels to targets; gives one for each output.
        criterion: one for the only output, or one for each by name.
        aggregator: makes one loss of several; needed with several criterions, and only then.
        weight_init: how new weights are drawn; PyTorch's own way when None.
    """

    def __init__(
        self,
        stride: int | float,
        predictor: BasePredictor,
        target_generator: BaseGenerator,
        criterion: Mapping[str, BaseCriterion] | BaseCriterion,
        aggregator: BaseLossAggregator | None = None,
        weight_init: str | Mapping[str, Any] | BaseWeightInitializer | None = None,
    ) -> None:
        super().__init__()
        if stride == 0:
            raise ValueError("Expected a stride other than 0, got 0.")
        if isinstance(criterion, Mapping) == (aggregator is None):
            raise ValueError(
                "Expected an aggregator with several criterions and none with a single one, got "
                f"{type(criterion).__name__} and {type(aggregator).__name__}."
            )
        self.stride = stride
        self.predictor = predictor
        self.target_generator = target_generator
        self.criterion = criterion
        self.aggregator = aggregator
        self.weight_init = build_weight_init(weight_init)

    @abstractmethod
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Outputs by name, of features [N, C, H, W]."""

    def get_loss(
        self, outputs: dict[str, torch.Tensor], targets: dict[str, dict[str, torch.Tensor]]
    ) -> dict[str, torch.Tensor]:
        """Losses by name, with the one to minimise as ``total_loss``."""
        if self.aggregator is None:
            assert isinstance(self.criterion, BaseCriterion)
            ((name, output),) = outputs.items()
            return {"total_loss": self.criterion(output, **targets[name])}
        assert isinstance(self.criterion, Mapping)
        losses = {
            name: criterion(outputs[name], **targets[name])
            for name, criterion in self.criterion.items()
        }
        losses["total_loss"] = self.aggregator(losses)
        return losses

    def convert_weights(self, state: State, conversion: Sequence[int]) -> dict[str, torch.Tensor]:
        """The ``state`` of such a head that was trained on other bodyparts, for those of this one.

        Args:
            state: the state dict.
            conversion: of each bodypart its place among those of ``state``.

        Raises:
            ConfigError: this kind of head cannot do that, or there is no such place.
        """
        raise ConfigError(
            f"The outputs of a {type(self).__name__} cannot be chosen among those of a snapshot. "
            "Set with_decoder to false in train_settings.weight_init."
        )

    def _init_weights(self) -> None:
        """To be called by a subclass when all its modules are there."""
        if self.weight_init is not None:
            self.weight_init.init_weights(self)


HEADS: Registry[BaseHead] = Registry("head")

"""How the weights of a new head are drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import nn

from .registry import Registry


class BaseWeightInitializer(ABC):
    """Draws weights in place."""

    @abstractmethod
    def init_weights(self, model: nn.Module) -> None:
        """Draw the weights of ``model``."""


WEIGHT_INIT: Registry[BaseWeightInitializer] = Registry("weight initialiser")


@WEIGHT_INIT.register_module
class Normal(BaseWeightInitializer):
    """Normally distributed weights; biases 0.

    Args:
        std: standard deviation.
    """

    def __init__(self, std: float = 0.001) -> None:
        self.std = std

    def init_weights(self, model: nn.Module) -> None:
        """See :class:`BaseWeightInitializer`."""
        for name, parameter in model.named_parameters():
            if "bias" in name:
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, std=self.std)


@WEIGHT_INIT.register_module
class Dekr(Normal):
    """What DeepLabCut draws for DEKR's head: normally distributed, batch norms included."""


@WEIGHT_INIT.register_module
class Rtmpose(BaseWeightInitializer):
    """As RTMPose's head: convolutions 0.001, linear layers 0.01, batch norms 1."""

    def init_weights(self, model: nn.Module) -> None:
        """See :class:`BaseWeightInitializer`."""
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.normal_(module.weight, std=0.001 if isinstance(module, nn.Conv2d) else 0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
                nn.init.ones_(module.bias)


def build_weight_init(
    cfg: str | Mapping[str, Any] | BaseWeightInitializer | None,
) -> BaseWeightInitializer | None:
    """An initialiser from its name ("normal", "dekr", "RTMPose"), its configuration, or itself."""
    if cfg is None or isinstance(cfg, BaseWeightInitializer):
        return cfg
    if isinstance(cfg, str):
        cfg = {"type": cfg.title().replace("_", "")}
    return WEIGHT_INIT.build(cfg)

"""What the detectors of torchvision have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ...snapshots import State, load_weights
from ..weight_files import WeightFile, locate, read_state
from .base import BaseDetector, Detections, Targets


class TorchvisionDetector(BaseDetector):
    """A network of torchvision; keys live under ``model.``.

    Images arrive normalised as the configuration says and torchvision normalises them once more,
    as in DeepLabCut (models/detectors/torchvision.py).

    Args:
        model: the network.
        freeze_bn_stats, freeze_bn_weights: see :class:`BaseDetector`.
    """

    def __init__(
        self,
        model: Any,
        *,
        freeze_bn_stats: bool = False,
        freeze_bn_weights: bool = False,
    ) -> None:
        super().__init__(freeze_bn_stats, freeze_bn_weights)
        self.model = model

    def forward(
        self, images: Tensor, targets: Targets | None = None
    ) -> tuple[dict[str, Tensor], Detections]:
        """See :class:`BaseDetector`; there are no detections while training and no losses else."""
        if self.training:
            losses: dict[str, Tensor] = self.model(list(images), targets)
            return losses, []
        found: Detections = self.model(list(images))
        return {}, found


def load_published(
    network: nn.Module, what: str, url: str, *, adapt: Callable[[State], State] = dict
) -> None:
    """Load all weights of ``network`` from a file of torchvision, as ``adapt`` changes them.

    Raises:
        UnavailableError: it is not here and cannot be downloaded.
        SnapshotError: it is damaged.
    """
    path = locate(WeightFile.of_torchvision(what, url))
    load_weights(network, adapt(read_state(path)), str(path))

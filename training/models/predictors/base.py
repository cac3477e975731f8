"""What every predictor is."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dlc_deploy.grouping import Grouping

from ..registry import Registry

Outputs = dict[str, torch.Tensor]


class BasePredictor(nn.Module):
    """A head's outputs to keypoints, in two steps.

    ``decode`` is plain tensor code with shapes that do not depend on the data: it runs in PyTorch
    and becomes part of the exported graph. What has no fixed shape, such as peaks that become
    animals, ``grouping`` describes and :mod:`dlc_deploy.runtime.assembly` does on the host.

    A predictor of one's own defines ``decode``, or ``forward`` alone as DeepLabCut's do, which is
    then exported.

    Attributes:
        num_animals: poses that are found in an image.
    """

    num_animals: int = 1

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.decode is BasePredictor.decode and cls.forward is BasePredictor.forward:
            raise TypeError(f"{cls.__name__}: a predictor defines decode(stride, outputs).")

    @property
    def grouping(self) -> Grouping | None:
        """What is left to do after ``decode``; nothing by default."""
        return None

    def decode(self, stride: float, outputs: Outputs) -> Outputs:
        """Tensors of fixed shape from a head's outputs.

        Args:
            stride: input pixels per cell of the outputs.
            outputs: what the head's ``forward`` returned.

        Returns:
            ``poses`` float32 [N, individuals, keypoints, 3], x and y in pixels of the network's
            input and a score, or what ``grouping`` makes poses of.
        """
        return self.forward(stride, outputs)

    def forward(self, stride: float, outputs: Outputs) -> Outputs:
        """``poses``, decoded; a predictor with a ``grouping`` groups them here too."""
        return self.decode(stride, outputs)


PREDICTORS: Registry[BasePredictor] = Registry("predictor")

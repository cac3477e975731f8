"""What every predictor is."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn

from ..registry import Registry

Outputs = dict[str, torch.Tensor]


class BasePredictor(ABC, nn.Module):
    """A head's outputs to keypoints, in two functions.

    ``decode`` is plain tensor code with shapes that do not depend on the data: it runs in PyTorch
    and becomes part of the exported graph. ``group`` runs on the host, for what has no fixed shape,
    such as peaks that become animals; by default there is nothing left to do.
    """

    @abstractmethod
    def decode(self, stride: float, outputs: Outputs) -> Outputs:
        """Tensors of fixed shape from a head's outputs.

        Args:
            stride: input pixels per cell of the outputs.
            outputs: what the head's ``forward`` returned.

        Returns:
            ``poses`` float32 [N, individuals, keypoints, 3], x and y in pixels of the network's
            input and a score, or what ``group`` makes poses of.
        """

    def group(self, decoded: Outputs) -> Outputs:
        """Poses of what ``decode`` returned."""
        return decoded

    def forward(self, stride: float, outputs: Outputs) -> Outputs:
        """``poses``, decoded and grouped."""
        return self.group(self.decode(stride, outputs))


PREDICTORS: Registry[BasePredictor] = Registry("predictor")

"""DLCRNet: a ResNet whose finer features are stacked on its last ones (Lauer et al., 2022)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..modules.resampling import resize
from .base import BACKBONES
from .resnet import ResNet

# Which block of the first and second layer gives its features.
_TAP = 2
_CHANNELS = (256, 512)
_MOMENTUM = 0.001


@BACKBONES.register_module
class DLCRNet(ResNet):
    """Last features of a ResNet behind two banks of 128 channels from its first two layers.

    The banks are reduced without padding, so they come out smaller than the last features of stride
    16 and larger than those of stride 32, and are resized to them. Gradients do not flow from the
    banks into the ResNet. As ``DLCRNet`` in DeepLabCut's models/backbones/resnet.py.

    Args:
        model_name: a ResNet of timm with bottleneck blocks, three or more in each layer.
        output_stride, pretrained: see :class:`ResNet`.
        options: those of :class:`ResNet`.
    """

    def __init__(
        self,
        model_name: str = "resnet50",
        output_stride: int = 32,
        pretrained: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(model_name, output_stride, pretrained, **options)
        first, second = _CHANNELS
        self.conv_block1 = _block(second, 512, kernel=3, stride=2)
        self.conv_block2 = _block(512, 128, kernel=1, stride=1)
        self.conv_block3 = _block(first, 256, kernel=3, stride=2)
        self.conv_block4 = _block(256, 256, kernel=3, stride=2)
        self.conv_block5 = _block(256, 128, kernel=1, stride=1)

    def forward(self, x: Tensor) -> Tensor:
        """See :class:`BaseBackbone`."""
        model = self.model
        x = model.maxpool(model.act1(model.bn1(model.conv1(x))))
        x, first = _run_and_tap(model.layer1, x)
        x, second = _run_and_tap(model.layer2, x)
        x = model.layer4(model.layer3(x))
        first = self.conv_block5(self.conv_block4(self.conv_block3(first)))
        second = self.conv_block2(self.conv_block1(second))
        height, width = x.shape[2:]
        return torch.cat([resize(first, height, width), resize(second, height, width), x], dim=1)


def _run_and_tap(layer: Iterable[nn.Module], x: Tensor) -> tuple[Tensor, Tensor]:
    """Output of a layer, and what left its tapped block."""
    tapped = x
    for number, block in enumerate(layer):
        x = block(x)
        if number == _TAP:
            tapped = x.detach()
    return x, tapped


def _block(channels: int, out: int, *, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride=stride),
        nn.BatchNorm2d(out, momentum=_MOMENTUM),
        nn.ReLU(),
    )

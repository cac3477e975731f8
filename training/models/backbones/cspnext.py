"""CSPNeXt, the backbone of RTMPose (Jiang et al., 2023)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from dlc_deploy.errors import ConfigError

from ...snapshots import load_weights
from ..modules.csp import (
    Activation,
    ConvModule,
    CSPLayer,
    SPPBottleneck,
    SyncedBatchNorm2d,
)
from ..weight_files import WeightFile, locate, read_state
from .base import BACKBONES, BaseBackbone

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Stage:
    """One stage at full width and depth.

    Attributes:
        last: ends the backbone: spatial pyramid pooling, and blocks without a skip.
    """

    in_channels: int
    out_channels: int
    blocks: int
    last: bool = False


PUBLISHED = ("cspnext_s", "cspnext_m", "cspnext_x")
_REPOSITORY = "DeepLabCut/DeepLabCut-Backbones"
_ARCHITECTURES = {
    "P5": (
        _Stage(64, 128, 3),
        _Stage(128, 256, 6),
        _Stage(256, 512, 6),
        _Stage(512, 1024, 3, last=True),
    ),
    "P6": (
        _Stage(64, 128, 3),
        _Stage(128, 256, 6),
        _Stage(256, 512, 6),
        _Stage(512, 768, 3),
        _Stage(768, 1024, 3, last=True),
    ),
}


@BACKBONES.register_module
class CSPNeXt(BaseBackbone):
    """CSPNeXt of any width and depth.

    Args:
        model_name: names the variant, for its weights; the factors below define it.
        pretrained: load RTMPose's weights as DeepLabCut publishes them, for the variants that they
            exist of: :data:`PUBLISHED` lists them; others are drawn at random.
        arch: P5 (stride 32) or P6.
        expand_ratio: hidden channels of a cross-stage layer.
        deepen_factor, widen_factor: blocks and channels relative to the full model.
        out_indices: which stage to return, 0 being the stem; -1 is the last.
        channel_attention: weigh channels in every stage.
        norm_layer: with SyncBN, the usual one, batch norms are never frozen, as in DeepLabCut; the
            numbers are those of BN, over the images of one process.
        activation_fn: SiLU or ReLU.
        options: those of :class:`BaseBackbone`.
    """

    def __init__(
        self,
        model_name: str = "cspnext_m",
        pretrained: bool = False,
        arch: Literal["P5", "P6"] = "P5",
        expand_ratio: float = 0.5,
        deepen_factor: float = 0.67,
        widen_factor: float = 0.75,
        out_indices: int = -1,
        channel_attention: bool = True,
        norm_layer: Literal["SyncBN", "BN"] = "SyncBN",
        activation_fn: Activation = "SiLU",
        **options: Any,
    ) -> None:
        super().__init__(stride=32, **options)
        if arch not in _ARCHITECTURES or activation_fn not in ("SiLU", "ReLU"):
            raise ConfigError(
                f"CSPNeXt: expected arch P5 or P6 and activation_fn SiLU or ReLU, got {arch!r} and "
                f"{activation_fn!r}."
            )
        stem = int(_ARCHITECTURES[arch][0].in_channels * widen_factor)
        half = int(_ARCHITECTURES[arch][0].in_channels * widen_factor // 2)
        self.stem = nn.Sequential(
            ConvModule(3, half, 3, stride=2, activation=activation_fn),
            ConvModule(half, half, 3, activation=activation_fn),
            ConvModule(half, stem, 3, activation=activation_fn),
        )
        names = ["stem"]
        for number, stage in enumerate(_ARCHITECTURES[arch], start=1):
            channels = int(stage.out_channels * widen_factor)
            names.append(f"stage{number}")
            layers: list[nn.Module] = [
                ConvModule(
                    int(stage.in_channels * widen_factor),
                    channels,
                    3,
                    stride=2,
                    activation=activation_fn,
                )
            ]
            if stage.last:
                layers.append(SPPBottleneck(channels, activation=activation_fn))
            layers.append(
                CSPLayer(
                    channels,
                    num_blocks=max(round(stage.blocks * deepen_factor), 1),
                    add_identity=not stage.last,
                    expand_ratio=expand_ratio,
                    channel_attention=channel_attention,
                    activation=activation_fn,
                )
            )
            self.add_module(names[-1], nn.Sequential(*layers))
        if norm_layer == "SyncBN":
            for module in self.modules():
                if isinstance(module, ConvModule):
                    module.norm = SyncedBatchNorm2d(module.norm.num_features)
        self._names = names[: out_indices % len(names) + 1]
        if pretrained:
            _load_published(self, model_name)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See :class:`BaseBackbone`."""
        for name in self._names:
            x = self.get_submodule(name)(x)
        return x


def _load_published(backbone: CSPNeXt, name: str) -> None:
    """As ``HuggingFaceWeightsMixin`` of DeepLabCut's models/backbones/base.py."""
    if name not in PUBLISHED:
        _log.warning("There are no weights of %s: it starts from random ones.", name)
        return
    file = WeightFile.of_hugging_face(
        f"RTMPose's weights of {name}", _REPOSITORY, f"{name}.pt", f"{name}.pt"
    )
    path = locate(file)
    state = read_state(path, "state_dict")
    load_weights(backbone, state, str(path))

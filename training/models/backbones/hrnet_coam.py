"""HRNet with conditional attention (BUCTD, Zhou et al., ICCV 2023): deeplabcut's
models/backbones/hrnet_coam.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dlc_deploy.errors import ConfigError

from ..modules.coam_module import CoAMBlock, SelfAttentionModule_CoAM
from ..modules.kpt_encoders import BaseKeypointEncoder
from .base import BACKBONES
from .cond_prenet import build_encoder, encode
from .hrnet import HRNet

_STAGES = (1, 2, 3)


@BACKBONES.register_module
class HRNetCoAM(HRNet):
    """An HRNet of timm with attention between its stages: conditional, or of the features alone.

    Args:
        kpt_encoder: how poses become images; its configuration or the encoder itself.
        base_model_name: timm's name.
        pretrained: load timm's ImageNet weights, see :func:`create_network`.
        coam_modules: after which of the transitions 1 to 3 the pose is asked.
        selfatt_coam_modules: after which ones features attend to themselves.
        channel_att_only: no attention between places.
        att_heads: heads of the conditional attention.
        img_size: (height, width) of the images.
        options: those of :class:`HRNet`.
    """

    def __init__(
        self,
        kpt_encoder: Mapping[str, Any] | BaseKeypointEncoder,
        base_model_name: str = "hrnet_w32",
        pretrained: bool = False,
        coam_modules: Sequence[int] = (2,),
        selfatt_coam_modules: Sequence[int] | None = None,
        channel_att_only: bool = False,
        att_heads: int = 1,
        img_size: tuple[int, int] = (256, 256),
        **options: Any,
    ) -> None:
        super().__init__(model_name=base_model_name, pretrained=pretrained, **options)
        if self.model.incre_modules is not None:
            raise ConfigError(
                "HRNetCoAM: expected increased_channel_count false, got true. Leave it out."
            )
        alone = tuple(selfatt_coam_modules or ())
        stages = [*coam_modules, *alone]
        if len(set(stages)) < len(stages) or not set(stages) <= set(_STAGES):
            raise ConfigError(
                f"HRNetCoAM: expected coam_modules and selfatt_coam_modules of {_STAGES}, each in "
                f"one of them, got {list(coam_modules)} and {list(alone)}."
            )
        self.cond_enc: BaseKeypointEncoder = build_encoder(kpt_encoder, img_size)
        none: Any = [None] * 4
        self.coam_stages: nn.ModuleList = nn.ModuleList(none)
        self.selfatt_coam_stages: nn.ModuleList = nn.ModuleList(none)
        sizes = [(int(img_size[0] / side), int(img_size[1] / side)) for side in (4, 8, 16, 32)]
        channels = self.model.stage4_cfg["num_channels"]
        for stage in coam_modules:
            self.coam_stages[stage - 1] = CoAMBlock(
                sizes[: stage + 1],
                channels[: stage + 1],
                self.cond_enc.num_channels,
                n_heads=att_heads,
                channel_only=channel_att_only,
            )
        for stage in alone:
            self.selfatt_coam_stages[stage - 1] = SelfAttentionModule_CoAM(
                sizes[: stage + 1], channels[: stage + 1]
            )

    def forward(self, x: Tensor, cond_kpts: Tensor) -> Tensor:  # type: ignore[override]
        """Features [N, C, H / stride, W / stride].

        Args:
            x: normalised images [N, 3, H, W], of ``img_size``.
            cond_kpts: poses [N, 1, K, 3] or [N, K, 3]: x, y in pixels of the image, and score.
        """
        condition = encode(self.cond_enc, cond_kpts, x)
        net: Any = self.model
        x = net.act1(net.bn1(net.conv1(x)))
        x = net.layer1(net.act2(net.bn2(net.conv2(x))))
        branches = self._attended(0, [move(x) for move in net.transition1], condition)
        branches = _moved(net.transition2, net.stage2(branches))
        branches = self._attended(1, branches, condition)
        branches = _moved(net.transition3, net.stage3(branches))
        return self.joined(net.stage4(self._attended(2, branches, condition)))

    def _attended(self, number: int, branches: list[Tensor], condition: Tensor) -> list[Tensor]:
        for blocks in (self.coam_stages, self.selfatt_coam_stages):
            block = blocks[number]
            if block is not None:
                return list(block(branches, condition))
        return branches


def _moved(transition: nn.ModuleList, branches: list[Tensor]) -> list[Tensor]:
    """Branches that stay, and a new one made of the last."""
    return [
        branches[place] if isinstance(move, nn.Identity) else torch.as_tensor(move(branches[-1]))
        for place, move in enumerate(transition)
    ]

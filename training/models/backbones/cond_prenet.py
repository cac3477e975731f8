"""A backbone that sees the pose which it is to refine, added to the image before the first layer.

BUCTD (Zhou et al., ICCV 2023) with its "pre-net"; deeplabcut's models/backbones/cond_prenet.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..modules.kpt_encoders import KEYPOINT_ENCODERS, BaseKeypointEncoder
from .base import BACKBONES, BaseBackbone, build_backbone


@BACKBONES.register_module
class CondPreNet(BaseBackbone):
    """Two small networks, of the image and of the pose's image, whose sum goes into any backbone.

    Args:
        kpt_encoder: how poses become images; its configuration or the encoder itself.
        backbone: what comes after; its configuration or the backbone itself.
        img_size: (height, width) of the images, for an encoder that does not state it.
        pretrained: load the published weights of the inner backbone.
        options: those of :class:`BaseBackbone`.
    """

    def __init__(
        self,
        kpt_encoder: Mapping[str, Any] | BaseKeypointEncoder,
        backbone: Mapping[str, Any] | BaseBackbone,
        img_size: tuple[int, int] = (256, 256),
        pretrained: bool = False,
        **options: Any,
    ) -> None:
        inner = (
            backbone
            if isinstance(backbone, BaseBackbone)
            else build_backbone(backbone, pretrained=pretrained)
        )
        super().__init__(stride=inner.stride, **options)
        self.cond_enc = build_encoder(kpt_encoder, img_size)
        self.backbone = inner
        self.rgb_preNet = nn.Sequential(
            nn.Conv2d(3, 64, 3, padding=1),
            nn.BatchNorm2d(64),
            nn.Conv2d(64, 3, 7, padding=3),
            nn.BatchNorm2d(3),
        )
        self.cond_preNet = nn.Sequential(
            nn.Conv2d(self.cond_enc.num_channels, 3, 7, padding=3), nn.BatchNorm2d(3)
        )
        for layer in (*self.rgb_preNet, *self.cond_preNet):
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.normal_(layer.weight, std=0.001)
                nn.init.zeros_(layer.bias)

    def forward(  # type: ignore[override]
        self, x: torch.Tensor, cond_kpts: torch.Tensor
    ) -> torch.Tensor:
        """Features [N, C, H / stride, W / stride].

        Args:
            x: normalised images [N, 3, H, W].
            cond_kpts: poses [N, 1, K, 3] or [N, K, 3]: x, y in pixels of the image, and score.
        """
        condition = encode(self.cond_enc, cond_kpts, x)
        return torch.as_tensor(self.backbone(self.rgb_preNet(x) + self.cond_preNet(condition)))


def build_encoder(
    encoder: Mapping[str, Any] | BaseKeypointEncoder, img_size: tuple[int, int]
) -> BaseKeypointEncoder:
    """The encoder, or one of that configuration."""
    if isinstance(encoder, BaseKeypointEncoder):
        return encoder
    return KEYPOINT_ENCODERS.build(encoder, img_size=img_size)


def encode(encoder: BaseKeypointEncoder, cond_kpts: Any, x: torch.Tensor) -> torch.Tensor:
    """The poses' images [N, C, H, W] for network inputs ``x`` [N, 3, H, W]."""
    poses = torch.as_tensor(cond_kpts, device=x.device)
    poses = poses.squeeze(1) if poses.ndim == 4 else poses
    return torch.as_tensor(encoder(poses, (x.shape[2], x.shape[3]))).to(x.dtype)

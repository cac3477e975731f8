"""TokenPose's transformer: keypoints are tokens beside the patches of an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import nn
from torch.nn import functional

from dlc_deploy.errors import ConfigError

from ..modules.transformer_layers import TransformerLayer
from .base import NECKS, BaseNeck

PositionEmbedding = Literal["sine-full", "sine", "learnable"]


@NECKS.register_module
class Transformer(BaseNeck):
    """Features [N, C, h, w] of one fixed size to keypoint tokens [N, K, 3 * dim].

    Three transformers follow each other; the keypoint tokens after each are put side by side
    (Li et al., TokenPose, 2021; DeepLabCut's models/necks/transformer.py).

    Args:
        feature_size: (height, width) of the features.
        patch_size: (height, width) of a patch, in cells.
        num_keypoints: K.
        dim: length of a token.
        depth: layers of each transformer.
        heads: of the attention.
        mlp_dim: hidden length of the feed-forward; 3 in DeepLabCut, and not 3 times ``dim``.
        apply_init: draw the weights of linear layers from a narrow normal distribution.
        heatmap_size: DeepLabCut's configurations may name it; DeepLabCut does not use it here.
        channels: C.
        dropout: of the layers while training.
        emb_dropout: of the tokens while training.
        pos_embedding_type: what tells where a patch lies. ``sine`` adds sines to the patches once,
            ``sine-full`` again before each layer of the second and third transformer but their
            first, and ``learnable`` adds learned numbers to all tokens once.
    """

    def __init__(
        self,
        *,
        feature_size: Sequence[int],
        patch_size: Sequence[int],
        num_keypoints: int,
        dim: int,
        depth: int,
        heads: int,
        mlp_dim: int = 3,
        apply_init: bool = False,
        heatmap_size: Sequence[int] = (64, 64),
        channels: int = 32,
        dropout: float = 0.0,
        emb_dropout: float = 0.0,
        pos_embedding_type: PositionEmbedding = "sine-full",
    ) -> None:
        super().__init__()
        if pos_embedding_type not in get_args(PositionEmbedding):
            raise ConfigError(
                "Transformer: expected pos_embedding_type "
                f"{', '.join(get_args(PositionEmbedding))}, got {pos_embedding_type!r}."
            )
        height, width = (
            side // patch for side, patch in zip(feature_size, patch_size, strict=True)
        )
        self.patch_size = tuple(patch_size)
        self.num_keypoints = num_keypoints
        self.pos_embedding_type = pos_embedding_type
        self.keypoint_token = nn.Parameter(torch.zeros(1, num_keypoints, dim))
        self.pos_embedding = (
            nn.Parameter(torch.zeros(1, height * width + num_keypoints, dim))
            if pos_embedding_type == "learnable"
            else nn.Parameter(_sines(height, width, dim), requires_grad=False)
        )
        self.patch_to_embedding = nn.Linear(channels * math.prod(patch_size), dim)
        self.dropout = nn.Dropout(emb_dropout)
        self.transformer1 = TransformerLayer(dim, depth, heads, mlp_dim, dropout)
        self.transformer2 = TransformerLayer(dim, depth, heads, mlp_dim, dropout)
        self.transformer3 = TransformerLayer(dim, depth, heads, mlp_dim, dropout)
        if apply_init:
            self.apply(init_narrow)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        patches = self.patch_to_embedding(self._patches(x))
        keypoints = self.keypoint_token.expand(x.shape[0], -1, -1)
        ahead = 0 if self.pos_embedding_type == "learnable" else self.num_keypoints
        position = functional.pad(self.pos_embedding, (0, 0, ahead, 0))
        tokens = self.dropout(torch.cat([keypoints, patches], dim=1) + position)
        again = position if self.pos_embedding_type == "sine-full" else None
        first = self.transformer1(tokens)
        second = self.transformer2(first, again)
        third = self.transformer3(second, again)
        return torch.cat([y[:, : self.num_keypoints] for y in (first, second, third)], dim=2)

    def _patches(self, x: torch.Tensor) -> torch.Tensor:
        """[N, patches, patch height * patch width * C] of [N, C, h, w]."""
        height, width = self.patch_size
        parts: torch.Tensor = x.unflatten(3, (-1, width)).unflatten(2, (-1, height))
        return parts.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def init_narrow(module: nn.Module) -> None:
    """Draw a linear layer's weights with a deviation of 0.02; make a layer norm the identity."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)


def _sines(height: int, width: int, dim: int) -> torch.Tensor:
    """Sines and cosines [1, height * width, dim]: half of them of the row, half of the column
    (Carion et al., DETR, 2020; with the numbers of DeepLabCut's models/necks/utils.py)."""
    half = dim // 2
    period = 10000 ** (2 * (torch.arange(half) // 2) / half)

    def along(cells: int) -> torch.Tensor:
        place = torch.arange(1, cells + 1) / (cells + 1e-6) * 2 * math.pi
        angle = place[:, None] / period
        return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], dim=2).flatten(1)

    rows = along(height)[:, None].expand(-1, width, -1)
    columns = along(width).expand(height, -1, -1)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)[None]

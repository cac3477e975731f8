"""The gated attention unit of RTMPose's head (Hua et al., FLASH, 2022; Jiang et al., 2023)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from timm.layers.drop import DropPath
from torch import nn
from torch.nn import functional


class ScaleNorm(nn.Module):
    """A vector over its root mean square, times one learned number (Nguyen, Salazar, 2019)."""

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.scale = dim**-0.5
        self.eps = eps
        self.g = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Vectors [..., dim] of the same shape."""
        norm: torch.Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True) * self.scale
        return x / norm.clamp(min=self.eps) * self.g


class Scale(nn.Module):
    """A learned factor for each element."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Vectors [..., dim] of the same shape."""
        return x * self.scale


class GatedAttentionUnit(nn.Module):
    """Self-attention between keypoints, gated; the attention is a squared ReLU.

    Args:
        num_token: K, keypoints.
        token_dims: length of a keypoint's vector, in and out.
        expansion_factor: hidden length relative to it.
        s: length of queries and keys.
        dropout_rate: of the attention while training.
        drop_path: stochastic depth while training.
        act_fn: of the hidden vectors.
        use_rel_bias: add a learned number for each distance between keypoint indices.
        pos_enc: rotate queries and keys by keypoint index.
    """

    def __init__(
        self,
        num_token: int,
        token_dims: int,
        *,
        expansion_factor: float = 2,
        s: int = 128,
        dropout_rate: float = 0.0,
        drop_path: float = 0.0,
        act_fn: Literal["SiLU", "ReLU"] = "SiLU",
        use_rel_bias: bool = False,
        pos_enc: bool = False,
    ) -> None:
        super().__init__()
        self.s, self.hidden = s, int(token_dims * expansion_factor)
        self.use_rel_bias, self.pos_enc = use_rel_bias, pos_enc
        if use_rel_bias:
            self.w = nn.Parameter(torch.rand(2 * num_token - 1))
        self.o = nn.Linear(self.hidden, token_dims, bias=False)
        self.uv = nn.Linear(token_dims, 2 * self.hidden + s, bias=False)
        self.gamma = nn.Parameter(torch.rand(2, s))
        self.beta = nn.Parameter(torch.rand(2, s))
        self.ln = ScaleNorm(token_dims)
        self.act_fn = nn.SiLU() if act_fn == "SiLU" else nn.ReLU()
        self.res_scale = Scale(token_dims)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.dropout = nn.Dropout(dropout_rate) if dropout_rate else nn.Identity()
        nn.init.xavier_uniform_(self.uv.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Vectors [N, K, token_dims] of the same shape."""
        gate, value, base = self.act_fn(self.uv(self.ln(x))).split(
            [self.hidden, self.hidden, self.s], dim=2
        )
        pair = base.unsqueeze(2) * self.gamma + self.beta
        if self.pos_enc:
            pair = _rotated(pair)
        query, key = pair.unbind(2)
        similarity = query @ key.transpose(1, 2)
        if self.use_rel_bias:
            similarity = similarity + self._relative_bias(x.shape[1])
        attention = self.dropout(functional.relu(similarity / math.sqrt(self.s)).square())
        y: torch.Tensor = self.o(gate * (attention @ value))
        residual: torch.Tensor = self.res_scale(x)
        branch: torch.Tensor = self.drop_path(y)
        return residual + branch

    def _relative_bias(self, tokens: int) -> torch.Tensor:
        """[K, K]: entry (i, j) is the learned number of the distance j - i."""
        index = torch.arange(tokens, device=self.w.device)
        return self.w[index[None, :] - index[:, None] + tokens - 1]


def _rotated(x: torch.Tensor) -> torch.Tensor:
    """Rotary position encoding of [N, K, 2, s] by K, with DeepLabCut's frequencies."""
    half = x.shape[-1] // 2
    frequency = 10000 ** (torch.arange(half, device=x.device) / half)
    angle = torch.arange(x.shape[1], device=x.device)[:, None, None] * frequency
    first, second = x.chunk(2, dim=-1)
    sin, cos = angle.sin(), angle.cos()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

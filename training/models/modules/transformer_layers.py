"""Transformer layers over keypoint and patch tokens (TokenPose)."""

from __future__ import annotations

import torch
from torch import nn

from dlc_deploy.errors import ConfigError


class Attention(nn.Module):
    """Self-attention of several heads (Vaswani et al., 2017).

    Args:
        dim: length of a token.
        heads: that share it.
        dropout: of the result while training.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if dim % heads:
            raise ConfigError(f"Expected dim to be a multiple of heads, got {dim} and {heads}.")
        self.heads = heads
        self.scale = (dim // heads) ** -0.5
        self.to_qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.to_out = nn.Sequential(nn.Linear(dim, dim), nn.Dropout(dropout))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens [N, T, dim] of the same shape."""
        parts = self.to_qkv(tokens).unflatten(2, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        weights = (query @ key.transpose(2, 3) * self.scale).softmax(-1)
        y: torch.Tensor = self.to_out((weights @ value).transpose(1, 2).flatten(2))
        return y


class FeedForward(nn.Module):
    """Two linear layers around a GELU.

    Args:
        dim: length of a token.
        hidden_dim: length between the layers.
        dropout: after each layer while training.
    """

    def __init__(self, dim: int, hidden_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(dim, hidden_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, dim),
            nn.Dropout(dropout),
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens [N, T, dim] of the same shape."""
        y: torch.Tensor = self.net(tokens)
        return y


class PreNorm(nn.Module):
    """``fn`` of normalised tokens."""

    def __init__(self, dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fn = fn

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens [N, T, dim] of the same shape."""
        y: torch.Tensor = self.fn(self.norm(tokens))
        return y


class Residual(nn.Module):
    """``fn`` beside the identity."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens of the same shape."""
        y: torch.Tensor = self.fn(tokens)
        return y + tokens


class TransformerLayer(nn.Module):
    """Several pairs of attention and feed-forward.

    Args:
        dim: length of a token.
        depth: pairs.
        heads, dropout: see :class:`Attention`.
        mlp_dim: hidden length of the feed-forward.
    """

    def __init__(
        self, dim: int, depth: int, heads: int, mlp_dim: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList(
                Residual(PreNorm(dim, fn))
                for fn in (Attention(dim, heads, dropout), FeedForward(dim, mlp_dim, dropout))
            )
            for _ in range(depth)
        )

    def forward(self, tokens: torch.Tensor, position: torch.Tensor | None = None) -> torch.Tensor:
        """Tokens [N, T, dim] of the same shape; ``position`` [1, T, dim] is added before every pair
        but the first."""
        for place, pair in enumerate(self.layers):
            assert isinstance(pair, nn.ModuleList)
            if position is not None and place > 0:
                tokens = tokens + position
            for layer in pair:
                tokens = layer(tokens)
        return tokens

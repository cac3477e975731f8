"""Conditional attention: features of an image weighed by an image of the pose that is refined.

BUCTD (Zhou et al., ICCV 2023), which adapts the two attentions of DANet (Fu et al., 2019); names
and numbers are those of deeplabcut's models/modules/coam_module.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .resampling import resize

Size = tuple[int, int]


class ScaledDotProductAttention(nn.Module):
    """Attention [N, queries, h * d_v] with learnt projections.

    Args:
        in_dim_q, in_dim_k: channels of queries, and of keys and values.
        d_k, d_v: channels of a head's keys and values.
        h: heads.
        dropout: share of weights that training drops.
    """

    def __init__(
        self, in_dim_q: int, in_dim_k: int, d_k: int, d_v: int, h: int, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.fc_q = nn.Linear(in_dim_q, h * d_k)
        self.fc_k = nn.Linear(in_dim_k, h * d_k)
        self.fc_v = nn.Linear(in_dim_k, h * d_v)
        self.fc_o = nn.Linear(h * d_v, in_dim_k)
        self.dropout = nn.Dropout(dropout)
        self.h = h
        _init_linears(self)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """[N, queries, in_dim_k] of queries [N, queries, in_dim_q], keys and values
        [N, keys, in_dim_k]."""
        parts = self.fc_q(queries), self.fc_k(keys), self.fc_v(values)
        return torch.as_tensor(self.fc_o(_attend(*parts, self.h, self.dropout)))


class SimplifiedScaledDotProductAttention(nn.Module):
    """Attention between channels, whose entries are the places of a feature map; only the result is
    projected.

    Args:
        d_model: places.
        h: heads.
        dropout: share of weights that training drops.
    """

    def __init__(self, d_model: int, h: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.fc_o = nn.Linear(h * (d_model // h), d_model)
        self.dropout = nn.Dropout(dropout)
        self.h = h
        _init_linears(self)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """[N, queries, d_model] of queries, keys and values [N, channels, d_model]."""
        return torch.as_tensor(self.fc_o(_attend(queries, keys, values, self.h, self.dropout)))


class PositionAttentionModule(nn.Module):
    """Every place looks at every place; with ``d_cond``, as the condition at that place asks."""

    def __init__(self, d_model: int, d_cond: int | None, kernel_size: int, n_heads: int) -> None:
        super().__init__()
        asking = d_model if d_cond is None else d_cond
        self.cnn = _conv(d_model, d_model, kernel_size)
        self.pa = ScaledDotProductAttention(asking, d_model, d_model, d_model, n_heads)
        if d_cond is not None:
            self.cnn_cond = _conv(d_cond, d_cond, kernel_size)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """[N, C, places] of features [N, C, H, W]."""
        y = self.cnn(x).flatten(2).transpose(1, 2)
        asked = y if cond is None else self.cnn_cond(cond).flatten(2).transpose(1, 2)
        return torch.as_tensor(self.pa(asked, y, y)).transpose(1, 2)


class ChannelAttentionModule(nn.Module):
    """Every channel looks at every channel; with ``d_cond``, as the condition asks."""

    def __init__(
        self, d_model: int, d_cond: int | None, kernel_size: int, places: int, n_heads: int
    ) -> None:
        super().__init__()
        self.cnn = _conv(d_model, d_model, kernel_size)
        if d_cond is not None:
            self.cnn_cond = _conv(d_cond, d_model, kernel_size)
        self.pa = SimplifiedScaledDotProductAttention(places, n_heads)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """[N, C, places] of features [N, C, H, W]."""
        y = self.cnn(x).flatten(2)
        asked = y if cond is None else self.cnn_cond(cond).flatten(2)
        return torch.as_tensor(self.pa(asked, y, y))


class DAModule(nn.Module):
    """Both attentions added to the features, or the features times the channel attention.

    Args:
        d_model, d_cond: channels of features and condition.
        size: (height, width) of the features.
        n_heads: heads of both attentions.
        channel_only: leave out the attention between places.
    """

    def __init__(
        self, d_model: int, d_cond: int, size: Size, n_heads: int = 1, channel_only: bool = False
    ) -> None:
        super().__init__()
        self.channel_only = channel_only
        places = size[0] * size[1]
        if not channel_only:
            self.position_attention_module = PositionAttentionModule(d_model, d_cond, 3, n_heads)
        self.channel_attention_module = ChannelAttentionModule(d_model, d_cond, 3, places, n_heads)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        """[N, C, H, W] of features [N, C, H, W] and a condition of as many places."""
        found: Tensor = self.channel_attention_module(x, cond).view_as(x)
        if self.channel_only:
            return x * found
        found = found + self.position_attention_module(x, cond).reshape(x.shape)
        return x + found


class SelfDAModule(nn.Module):
    """Both attentions of the features on themselves."""

    def __init__(self, d_model: int, size: Size) -> None:
        super().__init__()
        self.position_attention_module = PositionAttentionModule(d_model, None, 3, 1)
        self.channel_attention_module = ChannelAttentionModule(
            d_model, None, 3, size[0] * size[1], 1
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] of features [N, C, H, W]."""
        found: Tensor = self.position_attention_module(x).reshape(x.shape)
        found = found + self.channel_attention_module(x).view_as(x)
        return found


class CoAMBlock(nn.Module):
    """Conditional attention on each branch of an HRNet.

    Args:
        spat_dims: (height, width) of each branch's features.
        channel_list: their channels.
        d_cond: channels of the condition.
        n_heads, channel_only: as of :class:`DAModule`.
    """

    def __init__(
        self,
        spat_dims: Sequence[Size],
        channel_list: Sequence[int],
        d_cond: int,
        n_heads: int = 1,
        channel_only: bool = False,
    ) -> None:
        super().__init__()
        self.spat_dims = tuple(spat_dims)
        self.att_layers = nn.ModuleList(
            DAModule(channels, d_cond, size, n_heads, channel_only)
            for channels, size in zip(channel_list, spat_dims, strict=True)
        )

    def forward(self, branches: Sequence[Tensor], cond: Tensor) -> list[Tensor]:
        """New branches [N, C, H, W].

        The condition is shrunk to (width, height): for images that are not square DeepLabCut asks
        with the place that has the same number in a transposed map, and so its weights have learnt.
        """
        return [
            layer(branch, resize(cond, size[1], size[0]))
            for layer, branch, size in zip(self.att_layers, branches, self.spat_dims, strict=True)
        ]


class SelfAttentionModule_CoAM(nn.Module):
    """Attention of each branch of an HRNet on itself.

    Args:
        spat_dims: (height, width) of each branch's features.
        channel_list: their channels.
    """

    def __init__(self, spat_dims: Sequence[Size], channel_list: Sequence[int]) -> None:
        super().__init__()
        self.att_layers = nn.ModuleList(
            SelfDAModule(channels, size)
            for channels, size in zip(channel_list, spat_dims, strict=True)
        )

    def forward(self, branches: Sequence[Tensor], cond: Tensor) -> list[Tensor]:
        """New branches [N, C, H, W]; the condition plays no part."""
        return [layer(x) for layer, x in zip(self.att_layers, branches, strict=True)]


def _attend(
    queries: Tensor, keys: Tensor, values: Tensor, heads: int, dropout: nn.Dropout
) -> Tensor:
    q, k, v = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (queries, keys, values))
    share = dropout.p if dropout.training else 0.0
    found = functional.scaled_dot_product_attention(q, k, v, dropout_p=share)
    return found.transpose(1, 2).flatten(2)


def _conv(channels: int, out: int, kernel_size: int) -> nn.Conv2d:
    return nn.Conv2d(channels, out, kernel_size, padding=(kernel_size - 1) // 2)


def _init_linears(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.001)
            nn.init.zeros_(layer.bias)

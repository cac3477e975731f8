"""Weights of a head for fewer or other bodyparts, in another order, than it was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from dlc_deploy.errors import ConfigError

from ...snapshots import State


def choose_places(values: Tensor, places: Sequence[int], axis: int = 0) -> Tensor:
    """``values`` at ``places`` along ``axis``.

    Raises:
        ConfigError: there is no such place.
    """
    count = values.shape[axis]
    if not all(0 <= place < count for place in places):
        raise ConfigError(
            f"conversion_array: expected places from 0 to below {count}, the outputs of the "
            f"snapshot's head, got {list(places)}."
        )
    return values.index_select(axis, torch.tensor(list(places)))


def convert_maps(state: State, module: str, places: Sequence[int]) -> dict[str, Tensor]:
    """The state with only the output channels ``places`` of its ``DeconvModule`` ``module``."""
    layer, axis = _last_layer(state, module)
    if layer is None:
        return dict(state)
    weight, bias = f"{layer}.weight", f"{layer}.bias"
    return dict(state) | {
        weight: choose_places(state[weight], places, axis),
        bias: choose_places(state[bias], places),
    }


def _last_layer(state: State, module: str) -> tuple[str | None, int]:
    """Name of the layer that makes the maps, and which axis of its weights is that of outputs."""
    if f"{module}.final_conv.weight" in state:
        return f"{module}.final_conv", 0
    layers = list(_numbers(state, f"{module}.deconv_layers."))
    return (f"{module}.deconv_layers.{max(layers)}", 1) if layers else (None, 1)


def _numbers(state: State, prefix: str) -> Iterable[int]:
    return (
        int(key[len(prefix) : -len(".weight")])
        for key in state
        if key.startswith(prefix) and key.endswith(".weight")
    )


def convert_relative_bias(bias: Tensor, places: Sequence[int]) -> Tensor:
    """A bias [2T - 1] by distance between T tokens, for those at ``places``: the mean over the
    pairs of each distance of what they had, or the mean of all where no pair had anything.

    As ``RTMCCHead.convert_weights`` of DeepLabCut.
    """
    count, centre = len(places), (len(bias) + 1) // 2 - 1
    means = []
    for distance in range(1 - count, count):
        pairs = range(max(0, distance), count + min(0, distance))
        former = [places[one] - places[one - distance] + centre for one in pairs]
        known = [bias[place] for place in former if 0 <= place < len(bias)]
        means.append(torch.stack(known).mean() if known else bias.mean())
    return torch.stack(means)

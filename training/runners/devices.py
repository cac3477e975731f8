"""Devices that networks are trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from dlc_deploy.errors import ConfigError, UnavailableError


def device_of(device: str, gpus: Sequence[int] | None) -> str:
    """``device``, or the GPU that ``gpus`` names; with several of them the first.

    Raises:
        ConfigError: GPUs for another kind of device.
    """
    if not gpus:
        return device
    if torch.device(device).type != "cuda":
        raise ConfigError(
            f"gpus: expected none with device {device}, got {list(gpus)}. Set device to cuda."
        )
    return f"cuda:{gpus[0]}"


def check_device(device: str) -> None:
    """See that ``device`` is on this machine.

    Raises:
        ConfigError: no device of torch.
        UnavailableError: there is none of its kind, or not as many.
    """
    try:
        wanted = torch.device(device)
    except RuntimeError:
        raise ConfigError(
            f"device: expected auto, cpu, cuda, cuda:N or mps, got {device!r}."
        ) from None
    counts = {"cpu": 1, "mps": int(torch.backends.mps.is_available())}
    count = counts.get(wanted.type, torch.cuda.device_count() if wanted.type == "cuda" else 0)
    if count <= (wanted.index or 0):
        raise UnavailableError(
            f"device: expected one that torch finds on this machine, got {device}, of whose kind "
            f"there are {count}. Choose another, or auto; dlc-deploy doctor shows what is here."
        )


def to_device(values: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Tensors of ``values`` on ``device``; nothing waits for the copies."""
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
        for name, value in values.items()
    }

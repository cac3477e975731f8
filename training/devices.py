"""Devices that networks are trained and run on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from dlc_deploy.config import PoseConfig
from dlc_deploy.errors import ConfigError, UnavailableError


def best_device(net_type: str) -> str:
    """What ``auto`` means: CUDA, MPS for ResNets, or the CPU, by DeepLabCut's rule
    (``pose_estimation_pytorch/utils.py``)."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if "resnet" in net_type and torch.backends.mps.is_available() else "cpu"


def choose_device(config: PoseConfig, asked: str | None = None) -> str:
    """The device that is ``asked`` for, or the one that the configuration names; the best one here
    for ``auto``."""
    device = asked or config.device or "auto"
    return best_device(config.net_type) if device == "auto" else device


def device_of_detector(device: str) -> str:
    """``device``, or the CPU instead of MPS, which lacks operators of detectors; as DeepLabCut."""
    return "cpu" if device == "mps" else device


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

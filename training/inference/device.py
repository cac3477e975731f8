"""Which device a network runs on."""

from __future__ import annotations

import torch

from dlc_deploy.config import PoseConfig


def choose_device(config: PoseConfig, asked: str | None = None) -> str:
    """The device that is ``asked`` for, or the one that the configuration names.

    For ``auto`` the best one here, by DeepLabCut's rule (``pose_estimation_pytorch/utils.py``):
    CUDA, MPS for ResNets, or the CPU.
    """
    device = asked or config.device or "auto"
    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    if "resnet" in config.net_type and torch.backends.mps.is_available():
        return "mps"
    return "cpu"

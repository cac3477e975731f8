"""Numbers that a network is trained in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, get_args

import torch

from dlc_deploy.choices import TrainingPrecision
from dlc_deploy.errors import ConfigError, UnavailableError

_HALF: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


class MixedPrecision:
    """Runs networks in half precision while weights, losses and updates stay in float32.

    With fp16 the loss is scaled up before the gradients are taken, so that small ones do not
    vanish (Micikevicius et al., Mixed Precision Training, 2018).

    Args:
        precision: ``fp32`` does nothing.
        device: of the network.
    """

    def __init__(self, precision: TrainingPrecision, device: torch.device) -> None:
        self.dtype = _HALF.get(precision)
        self.device = device
        self.scaler = torch.amp.GradScaler(device.type) if precision == "fp16" else None

    def autocast(self) -> AbstractContextManager[Any]:
        """Inside, the network computes in half precision."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def update(self, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
        """One step of ``optimizer`` down the gradient of ``loss``."""
        optimizer.zero_grad()
        if self.scaler is None:
            loss.backward()
            optimizer.step()
            return
        self.scaler.scale(loss).backward()
        self.scaler.step(optimizer)
        self.scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """The scale, where there is one."""
        return {} if self.scaler is None else self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the scale of ``state``."""
        if self.scaler is not None and state:
            self.scaler.load_state_dict(state)


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse a precision that ``device`` has no arithmetic for.

    Raises:
        ConfigError: an unknown precision.
        UnavailableError: a known one that the device lacks.
    """
    known = get_args(TrainingPrecision)
    if precision not in known:
        raise ConfigError(f"precision: expected one of {', '.join(known)}, got {precision!r}.")
    if precision == "fp32":
        return
    has = {"cuda": ("bf16", "fp16"), "cpu": ("bf16",)}.get(device.type, ())
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        has = ("fp16",)
    if precision not in has:
        raise UnavailableError(
            f"precision: expected one that {device} computes in ({', '.join(('fp32', *has))}), "
            f"got {precision}. Choose one of these, or another device."
        )

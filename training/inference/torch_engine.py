"""A graph run by PyTorch, behind the seam that every engine has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from dlc_deploy.engine import Arrays
from dlc_deploy.errors import UnavailableError

from .graphs import DetectorGraph, PoseGraph


class TorchEngine:
    """A graph module run by PyTorch; see :class:`dlc_deploy.engine.Engine`.

    Args:
        graph: moved to the device, and switched to evaluation.
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        UnavailableError: the device is not on this machine.
    """

    def __init__(self, graph: PoseGraph | DetectorGraph, device: str = "cpu") -> None:
        require_device(device)
        self.device = device
        self._graph = graph.to(device).eval()

    @property
    def description(self) -> str:
        """What executes the graph."""
        return f"PyTorch {torch.__version__} ({'CPU' if self.device == 'cpu' else self.device})"

    def run(self, inputs: Arrays) -> Arrays:
        """Execute the graph, in true float32: rounding chooses among peaks of nearly equal
        height."""
        given = {
            name: torch.from_numpy(np.ascontiguousarray(value)).to(self.device)
            for name, value in inputs.items()
        }
        with torch.inference_mode(), _exact(self.device):
            values = self._graph(**given)
        return {n: v.cpu().numpy() for n, v in zip(self._graph.outputs, values, strict=True)}

    def close(self) -> None:
        """Nothing to release."""


def require_device(device: str) -> None:
    """Check that PyTorch can use a device: an explicit request never falls back.

    Raises:
        UnavailableError: no such device here.
    """
    try:
        kind = torch.device(device)
    except RuntimeError:
        raise UnavailableError(
            f"Expected a device cpu, cuda, cuda:N or mps, got {device!r}."
        ) from None
    found = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }.get(kind.type, 0)
    if (kind.index or 0) >= found:
        raise UnavailableError(
            f"The device {device} was asked for, but PyTorch {torch.__version__} finds "
            f"{torch.cuda.device_count()} CUDA devices"
            f"{' and mps' if torch.backends.mps.is_available() else ''}. Choose another, or cpu."
        )


@contextmanager
def _exact(device: str) -> Iterator[None]:
    """No TF32 inside, which cuDNN uses for convolutions unless told otherwise."""
    if not device.startswith("cuda"):
        yield
        return
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)

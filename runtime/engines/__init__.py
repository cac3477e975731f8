"""What executes a graph: one file per engine, chosen by name.

Adding one: a file with a class that is an :class:`~dlc_deploy.engine.Engine`, its name in
``EngineName`` of :mod:`dlc_deploy.choices`, a line in ``open_engine``. The engine's package is
imported in its own file only, which is imported only when that engine is opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from dlc_deploy.choices import EngineName
from dlc_deploy.engine import Engine
from dlc_deploy.errors import UnavailableError, UsageError


def open_engine(
    graph: Path, *, name: EngineName = "auto", device: str = "cpu", threads: int | None = None
) -> Engine:
    """Load the ONNX file ``graph`` on ``device``.

    Args:
        graph: an ONNX file.
        name: which engine; ``auto`` is ONNX Runtime, the one that is exact everywhere.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        threads: CPU threads that one run may use; None leaves it to the engine.

    Raises:
        UsageError: there is no engine of that name.
        UnavailableError: the engine is not installed, or the device is not there. An explicit
            request never falls back.
    """
    names = get_args(EngineName)
    if name not in names:
        raise UsageError(f"Expected the engine {' or '.join(names)}, got {name!r}.")
    try:
        from .onnxruntime import OnnxRuntimeEngine
    except ImportError as error:
        raise UnavailableError(
            f"Expected ONNX Runtime for engine {name!r}, but it cannot be imported ({error}). "
            "Install it: pip install 'dlc-deploy[cpu]' (or [gpu] for CUDA)."
        ) from error
    return OnnxRuntimeEngine(graph, device=device, threads=threads)

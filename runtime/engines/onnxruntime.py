"""ONNX Runtime, on the CPU or through its CUDA provider."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from dlc_deploy.engine import Arrays
from dlc_deploy.errors import BundleError, UnavailableError, UsageError

_TYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(int64)": np.int64}
_ERRORS_ONLY = 3


class OnnxRuntimeEngine:
    """An ONNX Runtime session with its inputs checked.

    Attributes:
        device: ``cpu`` or ``cuda:N``.
    """

    def __init__(self, graph: Path, *, device: str = "cpu", threads: int | None = None) -> None:
        self.device, cuda_index = _parse_device(device)
        self._cuda_index = cuda_index
        self._session: ort.InferenceSession | None = _open(graph, cuda_index, threads)
        self._threads = threads
        inputs = self._session.get_inputs()
        _require_known_types(graph, {i.name: i.type for i in inputs})
        self._inputs = {i.name: (_TYPES[i.type], tuple(i.shape)) for i in inputs}
        self._outputs = [o.name for o in self._session.get_outputs()]

    @property
    def description(self) -> str:
        """Engine, version, provider, threads."""
        provider = "CPU" if self._cuda_index is None else "CUDA"
        threads = ""
        if self._threads:
            threads = f", {self._threads} thread{'s' * (self._threads > 1)} a run"
        return f"ONNX Runtime {ort.__version__} ({provider}{threads})"

    def run(self, inputs: Arrays) -> Arrays:
        """Execute the graph; see :class:`dlc_deploy.engine.Engine`."""
        if self._session is None:
            raise ValueError("This engine was closed; open it again to run it.")
        self._check(inputs)
        if self._cuda_index is None:
            values = self._session.run(self._outputs, dict(inputs))
        else:
            values = self._run_bound(self._session, inputs, self._cuda_index)
        return dict(zip(self._outputs, values, strict=True))

    def close(self) -> None:
        """Release the session."""
        self._session = None

    def _run_bound(
        self, session: ort.InferenceSession, inputs: Arrays, index: int
    ) -> list[NDArray[Any]]:
        """Inputs are uploaded once, outputs stay on the device until all of them are ready."""
        binding = session.io_binding()
        for name, value in inputs.items():
            uploaded = ort.OrtValue.ortvalue_from_numpy(value, "cuda", index)
            binding.bind_ortvalue_input(name, uploaded)
        for name in self._outputs:
            binding.bind_output(name, "cuda", index)
        session.run_with_iobinding(binding)
        values: list[NDArray[Any]] = binding.copy_outputs_to_cpu()
        return values

    def _check(self, inputs: Arrays) -> None:
        if inputs.keys() != self._inputs.keys():
            raise ValueError(f"Expected inputs {sorted(self._inputs)}, got {sorted(inputs)}.")
        for name, value in inputs.items():
            dtype, shape = self._inputs[name]
            fits = len(value.shape) == len(shape) and all(
                not isinstance(want, int) or want == got
                for want, got in zip(shape, value.shape, strict=True)
            )
            if value.dtype != dtype or not fits:
                raise ValueError(
                    f"Input {name!r}: expected {np.dtype(dtype)} {list(shape)}, "
                    f"got {value.dtype} {list(value.shape)}."
                )


def _require_known_types(graph: Path, types: Mapping[str, str]) -> None:
    for name, kind in types.items():
        if kind not in _TYPES:
            raise BundleError(
                f"{graph}: expected inputs of {', '.join(_TYPES)}, got {name!r} of {kind}. "
                "Export the snapshot again."
            )


def cuda_available() -> bool:
    """Whether this ONNX Runtime was built with the CUDA provider (a device may still be absent)."""
    return "CUDAExecutionProvider" in ort.get_available_providers()


def _parse_device(device: str) -> tuple[str, int | None]:
    if device == "cpu":
        return "cpu", None
    cuda = re.fullmatch(r"cuda(?::([0-9]+))?", device)
    if cuda is not None:
        index = int(cuda[1] or 0)
        return f"cuda:{index}", index
    raise UsageError(f"Expected a device cpu, cuda or cuda:N, got {device!r}.")


def _open(graph: Path, cuda_index: int | None, threads: int | None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    if threads is not None:
        options.intra_op_num_threads = threads
    # Spinning workers take the cores that decoding and the other batches need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers: list[str | tuple[str, Mapping[str, Any]]] = ["CPUExecutionProvider"]
    if cuda_index is not None:
        _require_cuda(cuda_index)
        # By default it rounds to TF32, which keeps 10 bits of what an fp32 bundle promises.
        chosen = {"device_id": cuda_index, "use_tf32": "0"}
        providers.insert(0, ("CUDAExecutionProvider", chosen))
    try:
        session = ort.InferenceSession(str(graph), options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own.
        if cuda_index is not None:
            _open(graph, None, threads)  # A file that the CPU cannot load either is to blame.
            raise _no_cuda(cuda_index, str(error)) from error
        raise BundleError(
            f"{graph}: expected an ONNX file that ONNX Runtime {ort.__version__} can load, "
            f"got: {error}. Check the bundle: dlc-deploy verify."
        ) from error
    if cuda_index is not None and "CUDAExecutionProvider" not in session.get_providers():
        raise _no_cuda(cuda_index, "ONNX Runtime fell back to the CPU")
    return session


def _require_cuda(index: int) -> None:
    if not cuda_available():
        raise _no_cuda(index, f"this ONNX Runtime has only {ort.get_available_providers()}")


def _no_cuda(index: int, reason: str) -> UnavailableError:
    return UnavailableError(
        f"Expected the CUDA device cuda:{index}, but {reason}. Install the GPU build: "
        "pip uninstall onnxruntime; pip install 'dlc-deploy[gpu]'; then see dlc-deploy doctor. "
        "Or ask for --device cpu."
    )

"""ONNX files to TensorRT-RTX engines, ahead of time, on a machine with or without a GPU.

An engine is compiled for the named compute capabilities; nothing is run here. TensorRT-RTX takes
fewer operators than ONNX has: no DeformConv, NonMaxSuppression, antialiased Resize or Transpose of
uint8, and without a GPU no RoiAlign. :mod:`dlc_deploy.exporters.rewrites` is the place for what
replaces them.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from dlc_deploy.errors import DlcDeployError, InputError, UnavailableError, UsageError

Size = tuple[int, int]
Batches = tuple[int, int, int]
Sizes = tuple[Size, Size, Size]

DEFAULT_BATCH: Batches = (1, 8, 32)
DEFAULT_SIZES: Sizes = ((128, 128), (480, 640), (1088, 1920))
_INSTALL = "pip install 'dlc-deploy[trt-rtx]'"
# One build at a time: all share the logger.
_BUILDING = threading.Lock()
# Without a GPU, whatever else goes wrong is accompanied by these.
_NO_GPU = re.compile(r"cuda ?error|cuda runtime|cuda driver", re.IGNORECASE)


class EngineCompileError(DlcDeployError):
    """TensorRT-RTX refuses the graph."""


def compile_engine(
    onnx_path: str | Path,
    *,
    compute_capabilities: Sequence[str] = ("sm89",),
    batch: Batches = DEFAULT_BATCH,
    sizes: Sizes | None = None,
) -> bytes:
    """Compile an ONNX file for GPUs that need not be in this machine.

    Numbers stay in the types of the file: float32 is computed in float32, without TF32.

    Args:
        onnx_path: as :func:`dlc_deploy.exporters.onnx.write_onnx` writes it, the batch free.
        compute_capabilities: ``smNN`` of the GPUs; one engine holds them all.
        batch: smallest, usual and largest batch.
        sizes: smallest, usual and largest (height, width) of a graph whose sizes are free, in its
            multiples; :data:`DEFAULT_SIZES` when None.

    Returns:
        The serialized engine.

    Raises:
        UnavailableError: the package ``tensorrt_rtx`` cannot be imported.
        UsageError: the options do not fit TensorRT-RTX or the graph.
        InputError: ``onnx_path`` is not an ONNX file.
        EngineCompileError: an operator cannot be compiled; the message names it and its node.
    """
    path = Path(onnx_path)
    trt = import_tensorrt_rtx()
    capabilities = _capabilities(trt, compute_capabilities)
    graph = _load(path)
    shapes = _shapes(graph, batch, sizes)
    with _BUILDING:
        log = _logger(trt)
        log.errors.clear()
        builder = trt.Builder(log)
        typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        network = builder.create_network(typed)
        parser = trt.OnnxParser(network, log)
        if not parser.parse_from_file(str(path)):
            raise _refusal_of_parser(path, parser)
        config = _config(trt, builder, capabilities, shapes)
        engine = builder.build_serialized_network(network, config)
        if engine is None:
            raise _refusal_of_builder(path, graph, log.errors)
        return bytes(engine)


def import_tensorrt_rtx() -> Any:
    """The package ``tensorrt_rtx``.

    Raises:
        UnavailableError: it cannot be imported.
    """
    try:
        import tensorrt_rtx
    except ImportError as error:
        raise UnavailableError(
            f"Expected TensorRT-RTX, but it cannot be imported ({error}). Install it: {_INSTALL}."
        ) from error
    return tensorrt_rtx


def _capabilities(trt: Any, names: Sequence[str]) -> list[Any]:
    known = {name.lower(): one for name, one in trt.ComputeCapability.__members__.items()}
    known = {name: one for name, one in known.items() if name.startswith("sm")}
    wrong = [name for name in names if name not in known]
    if isinstance(names, str) or not names or wrong:
        raise UsageError(
            f"Expected compute capabilities among {', '.join(known)} (of TensorRT-RTX "
            f"{trt.__version__}), got {wrong or names!r}."
        )
    return [known[name] for name in names]


def _load(path: Path) -> onnx.GraphProto:
    try:
        return onnx.load(str(path), load_external_data=False).graph
    except Exception as error:  # onnx and protobuf raise unrelated types.
        raise InputError(f"{path}: expected an ONNX file, got: {error}") from error


def _shapes(
    graph: onnx.GraphProto, batch: Batches, sizes: Sizes | None
) -> dict[str, list[tuple[int, ...]]]:
    """Smallest, usual and largest shape of each input."""
    chosen = sizes or DEFAULT_SIZES
    _require_order(batch, chosen)
    dims = {value.name: value.type.tensor_type.shape.dim for value in graph.input}
    if sizes is not None and not any(dim.dim_param for d in dims.values() for dim in d[1:]):
        raise UsageError(f"The graph takes images of one size, got sizes {sizes}. Leave them out.")
    return {
        name: [
            (dim[0].dim_value or number, *_lengths(name, dim[1:], size))
            for number, size in zip(batch, chosen, strict=True)
        ]
        for name, dim in dims.items()
    }


def _require_order(batch: Batches, sizes: Sizes) -> None:
    if not 1 <= batch[0] <= batch[1] <= batch[2]:
        raise UsageError(f"Expected batches 1 <= smallest <= usual <= largest, got {batch}.")
    if not all(0 < a <= b <= c for a, b, c in zip(*sizes, strict=True)):
        raise UsageError(f"Expected sizes smallest <= usual <= largest in both axes, got {sizes}.")


def _lengths(name: str, dims: Sequence[Any], size: Size) -> list[int]:
    """The fixed lengths of an input's axes, and height and width where they are free."""
    lengths = []
    for axis, dim in enumerate(dims):
        if not dim.dim_param:
            lengths.append(dim.dim_value)
            continue
        if axis >= len(size):
            raise UsageError(
                f"Expected free batch, height and width, but axis {axis + 1} of the input {name!r} "
                f"is free too ({dim.dim_param})."
            )
        factor = re.match(r"(\d+)\s*\*", dim.dim_param)
        if factor and size[axis] % int(factor[1]):
            raise UsageError(f"The graph takes sizes in multiples of {factor[1]}, got {size}.")
        lengths.append(size[axis])
    return lengths


def _config(
    trt: Any, builder: Any, capabilities: list[Any], shapes: dict[str, list[tuple[int, ...]]]
) -> Any:
    config = builder.create_builder_config()
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        if not config.set_compute_capability(capability, index):
            raise EngineCompileError(f"TensorRT-RTX does not compile for {capability}.")
    # It keeps 10 bits of what an fp32 engine promises.
    config.clear_flag(trt.BuilderFlag.TF32)
    profile = builder.create_optimization_profile()
    for name, (smallest, usual, largest) in shapes.items():
        profile.set_shape(name, smallest, usual, largest)
    config.add_optimization_profile(profile)
    return config


def _refusal_of_parser(path: Path, parser: Any) -> EngineCompileError:
    lines = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        lines.append(
            f"  {error.node_operator()} (node {error.node_name()!r}): {_told(error.desc())}"
        )
    return _refusal(path, lines)


def _refusal_of_builder(
    path: Path, graph: onnx.GraphProto, errors: Sequence[str]
) -> EngineCompileError:
    causes = [error for error in errors if not _NO_GPU.search(error)] or list(errors)
    return _refusal(path, [f"  {_culprit(graph, cause)}: {_told(cause)}" for cause in causes])


def _refusal(path: Path, lines: Sequence[str]) -> EngineCompileError:
    return EngineCompileError(
        f"{path}: TensorRT-RTX cannot compile it. It refuses\n" + "\n".join(lines) + "\n"
        "Express the operator in plain ones (dlc_deploy/exporters/rewrites), or use the ONNX file."
    )


def _culprit(graph: onnx.GraphProto, message: str) -> str:
    """The node that a message of the builder speaks of, by its longest name: the builder has no
    other way to tell, and adds numbers to names."""
    named = [node for node in graph.node if node.name and node.name in message]
    if not named:
        return "the graph"
    node = max(named, key=lambda node: len(node.name))
    return f"{node.op_type} (node {node.name!r})"


def _told(text: str) -> str:
    """A message in one line, without what only says that there is no GPU."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join([line for line in lines if not _NO_GPU.search(line)] or lines)


@functools.cache
def _logger(trt: Any) -> Any:
    """TensorRT-RTX keeps the first logger of the process without holding it, and can crash when it
    is gone: there is one, for ever."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message)

    return Logger()

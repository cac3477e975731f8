"""A graph module to an ONNX file: checked, written, checked again."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
import torch.fx.experimental._config
from torch import Tensor, nn
from torch._dynamo.exc import UserError
from torch.export import Dim, ExportedProgram
from torch.export.dynamic_shapes import refine_dynamic_shapes_from_suggested_fixes

from dlc_deploy.errors import DlcDeployError

INPUT, CONDITIONS = "images", "conditions"


@dataclass(frozen=True, slots=True)
class InputSize:
    """What sizes a graph takes.

    Attributes:
        example: (height, width) to trace with.
        fixed: True for that size only; otherwise height and width are free.
        multiple: with free sizes, what height and width are multiples of.
    """

    example: tuple[int, int]
    fixed: bool
    multiple: int = 1


class OnnxExportError(DlcDeployError):
    """PyTorch could not turn the model into ONNX."""


def write_onnx(
    graph: nn.Module,
    path: Path,
    *,
    size: InputSize,
    outputs: Sequence[str],
    conditions: int | None = None,
) -> None:
    """Export ``graph`` (uint8 [N, H, W, 3] in) to ``path`` with a free batch.

    Args:
        graph: the module; returns one tensor or a tuple of them.
        path: the file to write.
        size: what sizes of images it takes.
        outputs: their names.
        conditions: keypoints of the second input of a conditional top-down graph.

    Raises:
        OnnxExportError: the model holds an operation that cannot be exported, or the file that came
            out is not what was asked for.
    """
    inputs = {INPUT: torch.zeros((2, *size.example, 3), dtype=torch.uint8)}
    shapes = [_dynamic_shapes(size)]
    if conditions is not None:
        inputs[CONDITIONS] = torch.zeros((2, conditions, 3))
        shapes.append({0: shapes[0][0]})
    try:
        with _quiet(), torch.inference_mode():
            program = torch.onnx.export(
                _captured(graph.eval(), tuple(inputs.values()), tuple(shapes)),
                dynamo=True,
                input_names=list(inputs),
                output_names=list(outputs),
                verbose=False,
            )
    except Exception as error:  # torch.export raises many unrelated types.
        raise OnnxExportError(
            f"The model cannot be exported to ONNX: {_reason(error)}. A custom module must compute "
            "with tensors only, with shapes that do not depend on the data; --debug tells more."
        ) from error
    assert program is not None
    program.save(str(path))
    _check(path, size, outputs)


def _captured(graph: nn.Module, inputs: tuple[Tensor, ...], shapes: Any) -> ExportedProgram:
    """What ``graph`` computes, captured as ``torch.onnx.export`` would at its first try.

    Its second try, in strict mode, must not be made: there free sizes pass for whole numbers of
    Python, so code for fixed sizes would go into the graph, computing in float32 what is float64.
    """
    try:
        return _capture(graph, inputs, shapes)
    except UserError as error:
        # Some networks take sides of a little over 32 pixels only; the error names the range.
        try:
            narrower = refine_dynamic_shapes_from_suggested_fixes(str(error.msg), shapes)
        except Exception:  # of many unrelated types: the error was about something else
            raise error from None
        return _capture(graph, inputs, narrower)


def _capture(graph: nn.Module, inputs: tuple[Tensor, ...], shapes: Any) -> ExportedProgram:
    with torch.fx.experimental._config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        return torch.export.export(
            graph,
            inputs,
            dynamic_shapes=shapes,
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,
        )


def _reason(error: BaseException) -> str:
    """The first cause in one line; what PyTorch wraps it in goes on for pages."""
    while error.__cause__ is not None:
        error = error.__cause__
    line, *_ = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {line}"


def _dynamic_shapes(size: InputSize) -> dict[int, object]:
    shapes: dict[int, object] = {0: Dim("batch", min=1, max=4096)}
    if not size.fixed:
        for axis, name in ((1, "height"), (2, "width")):
            if size.multiple == 1:
                # Below, stages of stride 32 are one cell wide, which is another graph.
                shapes[axis] = Dim(name, min=48, max=8192)
            else:
                cells = Dim(f"{name}_cells", min=2, max=8192 // size.multiple)
                shapes[axis] = size.multiple * cells
    return shapes


def _check(path: Path, size: InputSize, outputs: Sequence[str]) -> None:
    model = onnx.load(str(path))
    onnx.checker.check_model(model)
    found = [output.name for output in model.graph.output]
    if found != list(outputs):
        raise OnnxExportError(
            f"Expected the outputs {list(outputs)}, the exported file has {found}."
        )
    shape = model.graph.input[0].type.tensor_type.shape.dim
    free = [axis for axis, dim in enumerate(shape) if dim.dim_param]
    expected = [0] if size.fixed else [0, 1, 2]
    if free != expected:
        raise OnnxExportError(
            f"Expected the axes {expected} of the input to be free, the exported file has {free}."
        )
    foreign = {node.domain for node in model.graph.node} - {"", "ai.onnx"}
    if foreign:
        raise OnnxExportError(f"Expected standard ONNX operators, got some of {sorted(foreign)}.")


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's warnings speak of its inside; what matters is checked afterwards."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)

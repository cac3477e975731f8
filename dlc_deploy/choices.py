"""One ``Literal`` per choice: the commands, the Python API and the manifest read it here.

Nothing heavy may be imported in this file: ``--help`` reads it.
"""

from __future__ import annotations

from typing import Literal

ExportFormat = Literal["onnx"]
"""What an export builds."""

Precision = Literal["fp32"]
"""Numbers the networks of a bundle compute in."""

TrainingPrecision = Literal["fp32", "bf16", "fp16"]
"""Numbers a network is trained in; weights and losses always stay fp32."""

EngineName = Literal["auto", "onnxruntime"]
"""What executes a graph at run time; ``auto`` takes the fastest exact engine that is installed."""

Method = Literal["bu", "td", "ctd"]
"""How frames become poses, under DeepLabCut's own names: bottom-up, top-down, or top-down
conditioned on poses that another model found."""

PadPosition = Literal["center", "top_left", "top_right", "bottom_left", "bottom_right", "random"]
"""Where the image stays when it is padded; ``random`` is DeepLabCut's default while training."""

PlotMode = Literal["bodypart", "individual"]
"""What has a colour of its own in pictures of predictions."""

"""Pipelines know animals, not engines: frames in, poses out, in steps that a stream can overlap.

Adding one: a file with a class that is a :class:`Pipeline`, and a line in ``connect``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dlc_deploy.bundle import Bundle
from dlc_deploy.engine import Engine
from dlc_deploy.manifest import ConditionsModel, Manifest
from dlc_deploy.poses import Poses

from .bottom_up import BottomUp
from .conditional_top_down import ConditionalTopDown
from .top_down import TopDown

OpenEngine = Callable[[Path], Engine]
Step = tuple[str, Callable[[Any], Any]]

__all__ = [
    "BottomUp",
    "ConditionalTopDown",
    "Pipeline",
    "Step",
    "TopDown",
    "build_pipeline",
    "connect",
    "run_steps",
]


class Pipeline(Protocol):
    """Turns frames into poses.

    Attributes:
        steps: named functions; the first takes uint8 [N, H, W, 3] RGB frames of one size, each
            takes what the one before returned, the last returns :class:`Poses`. They keep no
            state, so several batches may be in different steps, or in the same one, at once.
        engines: what the steps run, for reports and closing.
    """

    @property
    def steps(self) -> tuple[Step, ...]:
        """In order."""
        ...

    @property
    def engines(self) -> dict[str, Engine]:
        """By the name of their graph."""
        ...


def run_steps(pipeline: Pipeline, frames: NDArray[np.uint8]) -> Poses:
    """All steps, one after the other, in the calling thread."""
    value: Any = frames
    for _, step in pipeline.steps:
        value = step(value)
    poses: Poses = value
    return poses


def build_pipeline(
    bundle: Bundle, open_graph: OpenEngine, max_individuals: int, conditions: Bundle | None = None
) -> Pipeline:
    """The pipeline that the manifest asks for, its engines opened by ``open_graph``.

    ``conditions`` finds the poses that a conditional top-down bundle refines, in place of the
    bundle's own conditions model.
    """
    manifest, finder = bundle.manifest, None
    if conditions is not None:
        manifest = manifest.model_copy(update={"conditions": None})
        finder = build_pipeline(conditions, open_graph, conditions.manifest.max_individuals)
    engines = {n: open_graph(bundle.path / graph.file) for n, graph in manifest.graphs.items()}
    return connect(manifest, engines, max_individuals, finder)


def connect(
    manifest: Manifest,
    engines: Mapping[str, Engine],
    max_individuals: int,
    conditions: Pipeline | None = None,
) -> Pipeline:
    """The pipeline that the manifest asks for, with ``engines`` by the name of their graph, and
    with what finds ``conditions`` where the bundle has no model for them."""
    if manifest.method == "ctd":
        if manifest.conditions is not None:
            own = conditions_manifest(manifest, manifest.conditions)
            conditions = connect(own, {"pose": engines["conditions"]}, own.max_individuals)
        return ConditionalTopDown(manifest, engines["pose"], max_individuals, conditions)
    if manifest.detector is None:
        return BottomUp(manifest, engines["pose"], max_individuals)
    return TopDown(manifest, engines["detector"], engines["pose"], max_individuals)


def conditions_manifest(manifest: Manifest, model: ConditionsModel) -> Manifest:
    """The manifest of a bundle's conditions model as if it were a bundle of its own."""
    own = {
        "method": "bu",
        "net_type": model.net_type,
        "max_individuals": model.max_individuals,
        "pose": model.pose,
        "conditions": None,
    }
    return manifest.model_copy(update=own)

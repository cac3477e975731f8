"""What the graphs of a bundle will be, settled before any of them is made."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dlc_deploy.choices import Precision
from dlc_deploy.errors import UsageError
from dlc_deploy.manifest import ConditionsModel, DetectorGraph, PoseGraph
from dlc_deploy.training.inference.entries import (
    CONDITIONS,
    DETECTOR,
    POSE,
    Entries,
    Size,
    crop_entry,
    detector_entry,
    frame_entry,
    refuse_augmentations,
)

from .onnx import InputSize
from .source import PoseSource, Source

_DRAWN_SIZE = (480, 640)
_TRACED_SIZE = (192, 256)
_TRACED_SIZE_OF_MULTIPLES = (256, 320)


@dataclass(frozen=True, slots=True)
class Plan:
    """The graphs as the manifest will describe them.

    Attributes:
        sizes: what sizes of images each graph takes, by the graph's name.
        individuals: animals looked for in a frame.
        keypoints: bodyparts of an animal.
    """

    sizes: dict[str, InputSize]
    pose: PoseGraph
    individuals: int
    keypoints: int
    detector: DetectorGraph | None = None
    conditions: ConditionsModel | None = None

    @property
    def entries(self) -> Entries:
        """What the manifest says of the graphs."""
        return Entries(self.pose, self.individuals, self.detector, self.conditions)

    @property
    def drawn_size(self) -> Size:
        """(height, width) of frames to be drawn where the user has none."""
        return self.pose.size if self.pose.size and self.pose.frame is not None else _DRAWN_SIZE


def plan_graphs(
    source: Source, size: Size | None, individuals: int | None, precision: Precision
) -> Plan:
    """The graphs that ``source`` becomes.

    Args:
        source: the loaded models.
        size: (height, width) asked for a bottom-up graph whose configuration leaves it free.
        individuals: animals asked for.
        precision: numbers the networks compute in.

    Raises:
        UsageError: what is asked for does not fit the model.
        ConfigError: the configuration lacks what a graph needs.
    """
    refuse_augmentations(source.config)
    if source.config.method == "bu":
        pose = frame_entry(source.config, source.model, size=size, precision=precision)
        return Plan({POSE: _frame_size(pose)}, pose, source.individuals, source.keypoints)
    if size is not None:
        raise UsageError(
            f"A top-down model takes crops of the size it was trained with, got --size {size}. "
            "Leave the option out."
        )
    animals = individuals or len(source.config.metadata.individuals)
    pose = crop_entry(source.config, precision=precision)
    plan = Plan({POSE: _crop_size(pose)}, pose, animals, source.keypoints)
    if source.config.method == "ctd":
        return _with_conditions(plan, source.conditions, precision)
    return _with_detector(plan, source, precision)


def _with_detector(plan: Plan, source: Source, precision: Precision) -> Plan:
    detector = detector_entry(source.detector_config, precision=precision)
    free = InputSize(detector.size or _DRAWN_SIZE, detector.size is not None)
    return replace(plan, sizes={DETECTOR: free, **plan.sizes}, detector=detector)


def _with_conditions(plan: Plan, source: PoseSource | None, precision: Precision) -> Plan:
    if source is None:
        return plan
    graph = frame_entry(source.config, source.model, name=CONDITIONS, precision=precision)
    model = ConditionsModel(
        net_type=source.config.net_type, max_individuals=source.individuals, pose=graph
    )
    return replace(plan, sizes={CONDITIONS: _frame_size(graph), **plan.sizes}, conditions=model)


def _frame_size(graph: PoseGraph) -> InputSize:
    """What sizes of frames a graph is exported for."""
    padding = None if graph.frame is None else graph.frame.padding
    multiple = padding.height_divisor if padding else 1
    example = _TRACED_SIZE_OF_MULTIPLES if multiple > 1 else _TRACED_SIZE
    return InputSize(graph.size or example, graph.size is not None, multiple)


def _crop_size(graph: PoseGraph) -> InputSize:
    assert graph.size is not None
    return InputSize(graph.size, fixed=True)

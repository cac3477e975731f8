"""What the graphs of a bundle will be, settled before any of them is made."""

from __future__ import annotations

from dataclasses import dataclass

from dlc_deploy.choices import Precision
from dlc_deploy.config import PoseConfig, Transforms
from dlc_deploy.errors import ConfigError, UsageError
from dlc_deploy.manifest import ConditionsModel, DetectorGraph, PoseGraph
from dlc_deploy.preprocessing import ConditionPreprocessing, CropPreprocessing

from .graph import BODYPARTS, IDENTITY
from .onnx import InputSize
from .source import PoseSource, Source

POSE, DETECTOR, CONDITIONS = "pose", "detector", "conditions"
_DRAWN_SIZE = (480, 640)
_TRACED_SIZE = (192, 256)
_TRACED_SIZE_OF_MULTIPLES = (256, 320)
Size = tuple[int, int]


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
    inference = source.config.data.inference
    if inference.augmentations():
        names = ", ".join(inference.augmentations())
        raise UsageError(f"data.inference switches on augmentations ({names}); switch them off.")
    if source.config.method == "bu":
        pose, input_size = _frame_graph(source, POSE, size, precision)
        return Plan({POSE: input_size}, pose, source.individuals, source.keypoints)
    if size is not None:
        raise UsageError(
            f"A top-down model takes crops of the size it was trained with, got --size {size}. "
            "Leave the option out."
        )
    animals = individuals or len(source.config.metadata.individuals)
    if source.config.method == "ctd":
        return _plan_conditional(source, animals, precision)
    return _plan_top_down(source, animals, precision)


def _plan_top_down(source: Source, individuals: int, precision: Precision) -> Plan:
    pose, crop_size = _crop_graph(source, precision)
    seen = source.detector_config.data.inference
    detector = DetectorGraph(
        file=f"{DETECTOR}.onnx",
        precision=precision,
        size=seen.frame().fixed_size,
        normalization=seen.normalization(),
        frame=seen.frame(),
    )
    free = InputSize(detector.size or _DRAWN_SIZE, detector.size is not None)
    sizes = {DETECTOR: free, POSE: crop_size}
    return Plan(sizes, pose, individuals, source.keypoints, detector=detector)


def _plan_conditional(source: Source, individuals: int, precision: Precision) -> Plan:
    pose, crop_size = _crop_graph(source, precision)
    condition = ConditionPreprocessing(bbox_margin=source.config.data.bbox_margin)
    pose = pose.model_copy(update={"condition": condition})
    if source.conditions is None:
        return Plan({POSE: crop_size}, pose, individuals, source.keypoints)
    graph, free = _frame_graph(source.conditions, CONDITIONS, None, precision)
    model = ConditionsModel(
        net_type=source.conditions.config.net_type,
        max_individuals=source.conditions.individuals,
        pose=graph,
    )
    sizes = {CONDITIONS: free, POSE: crop_size}
    return Plan(sizes, pose, individuals, source.keypoints, conditions=model)


def _frame_graph(
    source: PoseSource, name: str, size: Size | None, precision: Precision
) -> tuple[PoseGraph, InputSize]:
    """A graph that sees whole frames."""
    transforms = source.config.data.inference
    frame = transforms.frame()
    if size is not None and frame.fixed_size not in (None, size):
        raise UsageError(
            f"The model's configuration resizes frames to {frame.fixed_size}, got --size {size}. "
            "Leave the option out."
        )
    multiple = frame.padding.height_divisor if frame.padding else 1
    if size is not None and (size[0] % multiple or size[1] % multiple):
        raise UsageError(
            f"The model's configuration pads frames to multiples of {multiple}, got --size {size}. "
            "Choose such a size, or leave the option out."
        )
    fixed = size or frame.fixed_size
    entry = PoseGraph(
        file=f"{name}.onnx",
        precision=precision,
        size=fixed,
        normalization=transforms.normalization(),
        frame=frame,
        grouping=source.model.predictor(BODYPARTS).grouping,
        identity=IDENTITY in source.model.heads,
    )
    example = _TRACED_SIZE_OF_MULTIPLES if multiple > 1 else _TRACED_SIZE
    return entry, InputSize(fixed or example, fixed is not None, multiple)


def _crop_graph(source: PoseSource, precision: Precision) -> tuple[PoseGraph, InputSize]:
    """A graph that sees one animal's crop."""
    crop = _crop(source.config, source.config.data.inference)
    entry = PoseGraph(
        file=f"{POSE}.onnx",
        precision=precision,
        size=(crop.height, crop.width),
        normalization=source.config.data.inference.normalization(),
        crop=crop,
    )
    return entry, InputSize((crop.height, crop.width), fixed=True)


def _crop(config: PoseConfig, transforms: Transforms) -> CropPreprocessing:
    if transforms.top_down_crop is None:
        raise ConfigError(
            f"Expected data.inference.top_down_crop of a top-down model ({config.net_type}), "
            "found none. Give the configuration the model was trained with: --config."
        )
    return transforms.top_down_crop.preprocessing()

"""What a manifest says of a model: configuration and network to entries that pipelines read.

With them, and engines that run in PyTorch, the pipelines of :mod:`dlc_deploy.runtime.pipelines` do
without a bundle.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from dlc_deploy import __version__
from dlc_deploy.choices import Precision
from dlc_deploy.config import Detector, PoseConfig
from dlc_deploy.errors import ConfigError, UsageError
from dlc_deploy.manifest import ConditionsModel, DetectorGraph, Manifest, Origin, PoseGraph
from dlc_deploy.preprocessing import ConditionPreprocessing
from dlc_deploy.training.models.model import PoseModel

from .graphs import BODYPARTS, IDENTITY

POSE, DETECTOR, CONDITIONS = "pose", "detector", "conditions"
Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Entries:
    """The graphs of a manifest.

    Attributes:
        individuals: animals looked for in a frame.
    """

    pose: PoseGraph
    individuals: int
    detector: DetectorGraph | None = None
    conditions: ConditionsModel | None = None


def frame_entry(
    config: PoseConfig,
    model: PoseModel,
    *,
    name: str = POSE,
    size: Size | None = None,
    precision: Precision = "fp32",
) -> PoseGraph:
    """The entry of a bottom-up model, which sees whole frames.

    Args:
        config: of the model.
        model: the network.
        name: of the graph.
        size: (height, width) asked for, where the configuration leaves it free.
        precision: numbers the network computes in.

    Raises:
        UsageError: augmentations at inference, or a ``size`` that the configuration does not allow.
    """
    refuse_augmentations(config)
    transforms = config.data.inference
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
    return PoseGraph(
        file=f"{name}.onnx",
        precision=precision,
        size=size or frame.fixed_size,
        normalization=transforms.normalization(),
        frame=frame,
        grouping=model.predictor(BODYPARTS).grouping,
        identity=IDENTITY in model.heads,
    )


def crop_entry(config: PoseConfig, *, precision: Precision = "fp32") -> PoseGraph:
    """The entry of a top-down or conditional top-down model, which sees one animal's crop.

    Raises:
        UsageError: augmentations at inference.
        ConfigError: the configuration does not say how to crop.
    """
    refuse_augmentations(config)
    transforms = config.data.inference
    if transforms.top_down_crop is None:
        raise ConfigError(
            f"Expected data.inference.top_down_crop of a top-down model ({config.net_type}), "
            "found none. Give the configuration the model was trained with: --config."
        )
    crop = transforms.top_down_crop.preprocessing()
    condition = None
    if config.method == "ctd":
        condition = ConditionPreprocessing(bbox_margin=config.data.bbox_margin)
    return PoseGraph(
        file=f"{POSE}.onnx",
        precision=precision,
        size=(crop.height, crop.width),
        normalization=transforms.normalization(),
        crop=crop,
        condition=condition,
    )


def detector_entry(config: Detector, *, precision: Precision = "fp32") -> DetectorGraph:
    """The entry of a detector."""
    seen = config.data.inference
    return DetectorGraph(
        file=f"{DETECTOR}.onnx",
        precision=precision,
        size=seen.frame().fixed_size,
        normalization=seen.normalization(),
        frame=seen.frame(),
    )


def draft_manifest(
    config: PoseConfig,
    entries: Entries,
    origin: Origin,
    scorer: str,
    tools: Mapping[str, str] | None = None,
) -> Manifest:
    """A manifest without the files of a bundle.

    Args:
        config: of the pose model.
        entries: its graphs.
        origin: of its weights.
        scorer: name of its results.
        tools: versions of what else had a part in making the graphs.
    """
    metadata = config.metadata
    return Manifest(
        method=config.method,
        net_type=config.net_type,
        scorer=scorer,
        bodyparts=tuple(metadata.bodyparts),
        unique_bodyparts=tuple(metadata.unique_bodyparts),
        individuals=_names(metadata.individuals, entries.individuals),
        max_individuals=entries.individuals,
        pose=entries.pose,
        detector=entries.detector,
        conditions=entries.conditions,
        origin=origin,
        tools={"dlc-deploy": __version__, "torch": torch.__version__, **(tools or {})},
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        files={},
    )


def refuse_augmentations(config: PoseConfig) -> None:
    """A model must give one answer for one image.

    Raises:
        UsageError: ``data.inference`` augments images.
    """
    augmentations = config.data.inference.augmentations()
    if augmentations:
        names = ", ".join(augmentations)
        raise UsageError(f"data.inference switches on augmentations ({names}); switch them off.")


def _names(known: list[str], count: int) -> tuple[str, ...]:
    """At least ``count`` names: results of a model of one animal may hold several."""
    spare = (f"individual{i}" for i in itertools.count(1))
    more = itertools.islice((n for n in spare if n not in known), max(0, count - len(known)))
    return (*known, *more)

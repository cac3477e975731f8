"""Every model by its name, for a project of drawn animals, with random weights and drawn frames."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dlc_deploy.config import PoseConfig
from dlc_deploy.engine import Arrays
from dlc_deploy.errors import UsageError
from dlc_deploy.exporters.onnx import CONDITIONS, INPUT, InputSize, write_onnx
from dlc_deploy.exporters.plan import plan_graphs
from dlc_deploy.exporters.rewrites import rewrite_operators
from dlc_deploy.exporters.samples import choose_samples
from dlc_deploy.exporters.source import Source
from dlc_deploy.grouping import Grouping
from dlc_deploy.training import available_detectors, available_models
from dlc_deploy.training.config import make_pytorch_pose_config
from dlc_deploy.training.inference.entries import DETECTOR, POSE
from dlc_deploy.training.inference.graphs import DetectorGraph, PoseGraph
from dlc_deploy.training.models.detectors import DETECTORS
from dlc_deploy.training.models.model import PoseModel

from .random_weights import draw_weights

ANIMALS, BODYPARTS = 3, 12
FRAME = (480, 640)
"""Height and width of frames, where a graph takes any."""
COMPARED_SIZE = (192, 256)
"""Height and width of the images on which weights are made sane and engines are compared."""
_POSE_OF_DETECTORS = "rtmpose_s"
_CONDITIONS_SHUFFLE = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table.

    Attributes:
        name: of ``available_models()`` or ``available_detectors()``.
        kind: ``one animal`` or ``several animals`` bottom-up, ``top-down``,
            ``conditional top-down``, or ``detector``.
    """

    name: str
    kind: str

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return f"{self.name}, {self.kind}"


def entries(names: Sequence[str] | None = None) -> list[Entry]:
    """All rows, or those of ``names``.

    Raises:
        UsageError: a name that is not a model's or a detector's.
    """
    known = [*available_models(), *available_detectors()]
    wrong = sorted(set(names or ()) - set(known))
    if wrong:
        raise UsageError(f"Expected names among {', '.join(known)}, got {', '.join(wrong)}.")
    return [
        Entry(name, kind)
        for name in known
        if names is None or name in names
        for kind in _kinds(name)
    ]


def _kinds(name: str) -> list[str]:
    if name in available_detectors():
        return ["detector"]
    method = _config(name, several=True)["method"]
    if method != "bu":
        return [{"td": "top-down", "ctd": "conditional top-down"}[method]]
    # A backbone has heads for one animal and heads for several.
    backbone = f"top_down_{name}" in available_models()
    return ["one animal", "several animals"] if backbone else ["several animals"]


def _config(name: str, *, several: bool, detector: str | None = None) -> dict[str, Any]:
    bodyparts = [f"bodypart{i + 1}" for i in range(BODYPARTS)]
    project: dict[str, Any] = {"multianimalproject": several, "bodyparts": bodyparts}
    if several:
        animals = [f"animal{i + 1}" for i in range(ANIMALS)]
        project |= {
            "bodyparts": "MULTI!",
            "multianimalbodyparts": bodyparts,
            "individuals": animals,
        }
    config = make_pytorch_pose_config(
        project,
        "pytorch_config.yaml",
        net_type=name,
        top_down=name.startswith("top_down_"),
        detector_type=detector,
        ctd_conditions=_CONDITIONS_SHUFFLE if name.startswith("ctd_") else None,
    )
    # Some networks of DeepLabCut are of 384 pixels and given crops of 256, on which they fail.
    section = config["model"]
    if size := section["heads"]["bodypart"].get("input_size"):
        config["data"]["inference"]["top_down_crop"] |= {"width": size[0], "height": size[1]}
    elif size := section["backbone"].get("img_size"):
        config["data"]["inference"]["top_down_crop"] |= {"height": size[0], "width": size[1]}
    return config


@dataclass(frozen=True, slots=True)
class RandomModel:
    """A graph with drawn weights.

    Attributes:
        size: what sizes of images it takes.
        conditions: keypoints of its second input, or None.
    """

    graph: PoseGraph | DetectorGraph
    size: InputSize
    grouping: Grouping | None
    conditions: int | None

    @property
    def parameters(self) -> int:
        """Weights of the network, batch norms' statistics not counted."""
        return sum(parameter.numel() for parameter in self.graph.model.parameters())

    def write(self, path: Path) -> None:
        """Export to ONNX; the graph holds rewritten operators afterwards."""
        rewrite_operators(self.graph)
        write_onnx(
            self.graph,
            path,
            size=self.size,
            outputs=self.graph.outputs,
            conditions=self.conditions,
        )

    def inputs(self) -> Arrays:
        """Some drawn images, of the only size that the graph takes or of a small one."""
        # Detectors enlarge what they are given.
        count = 2 if isinstance(self.graph, DetectorGraph) else 4
        size = self.size.example if self.size.fixed else COMPARED_SIZE
        return drawn_inputs(count, size, self.conditions)


def drawn_inputs(count: int, size: tuple[int, int], conditions: int | None) -> Arrays:
    """Drawn images uint8 [N, H, W, 3], and poses in them where a graph refines poses."""
    images = np.stack(choose_samples(None, Path(), size, count).frames)
    if conditions is None:
        return {INPUT: images}
    random = np.random.default_rng(0)
    height, width = images.shape[1:3]
    points = random.uniform(0.1, 0.9, (count, conditions, 3)) * (width, height, 1)
    return {INPUT: images, CONDITIONS: points.astype(np.float32)}


def random_model(entry: Entry) -> RandomModel:
    """The model of a row, with weights that its key decides, made sane on its own ``inputs``."""
    source = _source(entry)
    plan = plan_graphs(source, None, None, "fp32")
    size = plan.sizes[DETECTOR if entry.kind == "detector" else POSE]
    graph: PoseGraph | DetectorGraph
    conditions = None
    if source.detector is not None and plan.detector is not None and entry.kind == "detector":
        graph = DetectorGraph(source.detector, plan.detector.normalization, ANIMALS)
    else:
        graph = PoseGraph(source.model, plan.pose.normalization)
        conditions = BODYPARTS if plan.pose.condition else None
    grouping = None if entry.kind == "detector" else plan.pose.grouping
    model = RandomModel(graph.eval(), size, grouping, conditions)
    inputs = {name: torch.from_numpy(v) for name, v in model.inputs().items()}
    draw_weights(graph.model, lambda: graph(**inputs), seed=zlib.crc32(entry.key.encode()))
    return model


def _source(entry: Entry) -> Source:
    detector = entry.name if entry.kind == "detector" else None
    name = _POSE_OF_DETECTORS if detector else entry.name
    mapping = _config(name, several=entry.kind != "one animal", detector=detector)
    config = PoseConfig.from_mapping(mapping, source=entry.key)
    model = PoseModel.build(config.model.model_dump(), pretrained_backbone=False)
    built = None
    if config.detector is not None:
        built = DETECTORS.build(dict(config.detector.model), pretrained=False)
    return Source(Path("snapshot.pt"), config, "", model, detector=built)

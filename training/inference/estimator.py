"""Snapshots as an estimator: what a bundle would be, run by PyTorch, with nothing on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from dlc_deploy.bundle import Bundle
from dlc_deploy.config import PoseConfig
from dlc_deploy.errors import UsageError
from dlc_deploy.manifest import ConditionsModel, Manifest
from dlc_deploy.runtime.estimator import Estimator
from dlc_deploy.runtime.outputs.scorer import origin_of, scorer_name
from dlc_deploy.runtime.parallel import Parallelism
from dlc_deploy.runtime.pipelines import connect
from dlc_deploy.training.snapshots import load_snapshot

from ..devices import choose_device, device_of_detector
from .entries import (
    CONDITIONS,
    DETECTOR,
    POSE,
    Entries,
    crop_entry,
    detector_entry,
    draft_manifest,
    frame_entry,
)
from .graphs import DetectorGraph, PoseGraph
from .heads import check_heads
from .models import individuals_of, load_detector, load_pose_model
from .torch_engine import TorchEngine

_BATCH_ON_GPU = 8


@dataclass(frozen=True, slots=True)
class Snapshots:
    """Files of one model, each with its configuration beside it or in it.

    Attributes:
        pose: the pose model's.
        detector: the detector's, of a top-down model.
        conditions: that of the bottom-up model whose poses a conditional top-down model refines.
    """

    pose: Path
    detector: Path | None = None
    conditions: Path | None = None


def load_estimator(
    config: PoseConfig, snapshots: Snapshots, *, device: str | None = None, batch: int | None = None
) -> Estimator:
    """An estimator of snapshots.

    Args:
        config: of the pose model, and of its detector.
        snapshots: the weights.
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; the configuration's when None.
        batch: frames that go through the networks together.

    Raises:
        ConfigError: a configuration that describes no model.
        SnapshotError: a snapshot of another model.
        UsageError: snapshots that do not belong together.
        UnavailableError: the device is not on this machine.
    """
    device = choose_device(config, device)
    check_heads(config, snapshots.pose)
    model = load_pose_model(snapshots.pose, config, load_snapshot(snapshots.pose).model)
    graphs: dict[str, PoseGraph | DetectorGraph] = {}
    if config.method == "bu":
        entries = Entries(frame_entry(config, model), individuals_of(model))
    else:
        entries = Entries(crop_entry(config), len(config.metadata.individuals))
    if config.method == "td":
        entries, graphs[DETECTOR] = _with_detector(config, snapshots, entries)
    if snapshots.conditions is not None:
        entries, graphs[CONDITIONS] = _with_conditions(config, snapshots.conditions, entries)
    graphs[POSE] = PoseGraph(model, entries.pose.normalization)
    manifest = _manifest(config, snapshots, entries)
    engines = _engines(graphs, device)
    # One network computes at once, on all cores, while the next frames are decoded.
    batch = batch or (1 if device == "cpu" else _BATCH_ON_GPU)
    plan = Parallelism(workers=1, threads=torch.get_num_threads(), batch=batch)
    return Estimator(
        Bundle(snapshots.pose, manifest),
        connect(manifest, engines, entries.individuals),
        max_individuals=entries.individuals,
        parallelism=plan,
    )


def _with_detector(
    config: PoseConfig, snapshots: Snapshots, entries: Entries
) -> tuple[Entries, DetectorGraph]:
    if snapshots.detector is None:
        raise UsageError(
            f"{snapshots.pose}: a top-down model ({config.net_type}) needs its detector, got none. "
            "Train it, or give the snapshot of one."
        )
    detector = load_detector(snapshots.detector, config, load_snapshot(snapshots.detector).model)
    assert config.detector is not None
    entry = detector_entry(config.detector)
    graph = DetectorGraph(detector, entry.normalization, entries.individuals)
    return Entries(entries.pose, entries.individuals, detector=entry), graph


def _with_conditions(
    config: PoseConfig, snapshot: Path, entries: Entries
) -> tuple[Entries, PoseGraph]:
    found = PoseConfig.from_yaml(snapshot.parent / "pytorch_config.yaml")
    names = config.metadata.bodyparts, found.metadata.bodyparts
    if config.method != "ctd" or found.method != "bu" or names[0] != names[1]:
        raise UsageError(
            f"{snapshot}: expected a bottom-up model that gives a conditional top-down model poses "
            f"of {', '.join(names[0])}, got one of method {found.method} that finds "
            f"{', '.join(names[1])}, for a model of method {config.method}."
        )
    check_heads(found, snapshot)
    model = load_pose_model(snapshot, found, load_snapshot(snapshot).model)
    entry = frame_entry(found, model, name=CONDITIONS)
    conditions = ConditionsModel(
        net_type=found.net_type, max_individuals=individuals_of(model), pose=entry
    )
    graph = PoseGraph(model, entry.normalization)
    return Entries(entries.pose, entries.individuals, conditions=conditions), graph


def _manifest(config: PoseConfig, snapshots: Snapshots, entries: Entries) -> Manifest:
    origin = origin_of(snapshots.pose, snapshots.detector)
    if snapshots.conditions is not None:
        origin = origin.model_copy(update={"conditions_snapshot": snapshots.conditions.name})
    scorer = scorer_name(config.net_type, origin)
    return draft_manifest(config, entries, origin, scorer).sealed()


def _engines(
    graphs: Mapping[str, PoseGraph | DetectorGraph], device: str
) -> dict[str, TorchEngine]:
    return {
        name: TorchEngine(graph, device_of_detector(device) if name == DETECTOR else device)
        for name, graph in graphs.items()
    }

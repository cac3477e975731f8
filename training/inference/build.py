"""Runners of a model's configuration and snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlc_deploy.config import PoseConfig
from dlc_deploy.errors import ConfigError, UsageError
from dlc_deploy.manifest import Manifest
from dlc_deploy.preprocessing import Normalization
from dlc_deploy.runtime.outputs.scorer import origin_of, scorer_name
from dlc_deploy.training.data.base import Transform
from dlc_deploy.training.data.reading import ImageReader
from dlc_deploy.training.models.model import PoseModel
from dlc_deploy.training.snapshots import load_snapshot

from ..devices import choose_device, device_of_detector
from .entries import Entries, crop_entry, detector_entry, draft_manifest, frame_entry
from .graphs import IDENTITY, DetectorGraph, PoseGraph
from .heads import check_heads
from .models import individuals_of, load_detector, load_pose_model
from .runners import (
    BottomUpRunner,
    ConditionalRunner,
    DetectorRunner,
    InferenceRunner,
    TopDownRunner,
)
from .torch_engine import TorchEngine

ModelConfig = PoseConfig | Mapping[str, Any] | str | Path
_AS_GIVEN = Normalization(kind="none")


def get_inference_runners(
    model_config: ModelConfig,
    snapshot_path: str | Path,
    max_individuals: int | None = None,
    num_bodyparts: int | None = None,
    num_unique_bodyparts: int | None = None,
    batch_size: int = 1,
    device: str | None = None,
    with_identity: bool = False,
    transform: Transform | None = None,
    detector_batch_size: int = 1,
    detector_path: str | Path | None = None,
    detector_transform: Transform | None = None,
    min_bbox_score: float | None = None,
) -> tuple[InferenceRunner, DetectorRunner | None]:
    """Runners of a pose model and its detector, as deeplabcut's apis/utils.py makes them.

    Args:
        model_config: ``pytorch_config.yaml``: its path, content, or typed value.
        snapshot_path: of the pose model.
        max_individuals: rows that results have at least, and the most boxes that the detector
            gives; the number of individuals in the configuration when None.
        num_bodyparts: that of the configuration; checked.
        num_unique_bodyparts: that of the configuration; checked.
        batch_size: images (crops, for a top-down model) that go through the pose model together.
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``mps`` (the detector then runs on the CPU); the
            configuration's, or the best one here, when None.
        with_identity: read the identity head, and put animals in the order of their names.
        transform: takes the place of ``data.inference`` of the configuration, normalisation
            included; for top-down models it is given crops.
        detector_batch_size: images that go through the detector together.
        detector_path: the detector's snapshot of a top-down model; without it boxes are given with
            the images.
        detector_transform: as ``transform``, for the detector.
        min_bbox_score: the detector's boxes of a lower score are left out; none when None.

    Returns:
        The pose model's runner, and the detector's where there is a ``detector_path``.

    Raises:
        ConfigError: a configuration that describes no model.
        SnapshotError: a snapshot of another model.
        UsageError: arguments that contradict the configuration.
        UnavailableError: the device is not on this machine.
    """
    config = _typed(model_config)
    _check_numbers(config, num_bodyparts, num_unique_bodyparts, max_individuals)
    device = choose_device(config, device)
    if detector_path is not None and config.method != "td":
        raise UsageError(
            f"Expected no detector_path for {config.net_type}, a model of method {config.method}, "
            f"got {detector_path}. Leave it out."
        )
    individuals = max_individuals or len(config.metadata.individuals)
    pose = _PoseParts.load(config, Path(snapshot_path), individuals, with_identity)
    runner = pose.runner(device, batch_size, transform, individuals)
    if detector_path is None:
        if detector_transform is not None or min_bbox_score is not None:
            raise UsageError(
                "Expected a detector_path with detector_transform or min_bbox_score, got none."
            )
        return runner, None
    detector = get_detector_inference_runner(
        config,
        detector_path,
        batch_size=detector_batch_size,
        device=device,
        max_individuals=individuals,
        transform=detector_transform,
        min_bbox_score=min_bbox_score,
    )
    return runner, detector


def get_detector_inference_runner(
    model_config: ModelConfig,
    snapshot_path: str | Path,
    batch_size: int = 1,
    device: str | None = None,
    max_individuals: int | None = None,
    transform: Transform | None = None,
    min_bbox_score: float | None = None,
) -> DetectorRunner:
    """The runner of a detector alone; see :func:`get_inference_runners`.

    Raises:
        ConfigError: a configuration without a detector.
        SnapshotError: a snapshot of another model.
        UnavailableError: the device is not on this machine.
    """
    config = _typed(model_config)
    snapshot = Path(snapshot_path)
    detector = load_detector(snapshot, config, load_snapshot(snapshot).model)
    assert config.detector is not None
    entry = detector_entry(config.detector)
    individuals = max_individuals or len(config.metadata.individuals)
    normalization = entry.normalization if transform is None else _AS_GIVEN
    graph = DetectorGraph(detector, normalization, individuals)
    device = choose_device(config, device)
    return DetectorRunner(
        entry,
        min_bbox_score,
        engine=TorchEngine(graph, device_of_detector(device)),
        reader=ImageReader(config.detector.data.colormode),
        batch_size=batch_size,
        transform=transform,
    )


@dataclass(frozen=True, slots=True)
class _PoseParts:
    """A pose model, and what is said of it."""

    config: PoseConfig
    model: PoseModel
    manifest: Manifest

    @classmethod
    def load(
        cls, config: PoseConfig, snapshot: Path, individuals: int, identity: bool
    ) -> _PoseParts:
        check_heads(config, snapshot)
        model = load_pose_model(snapshot, config, load_snapshot(snapshot).model)
        if identity and IDENTITY not in model.heads:
            raise UsageError(
                f"Expected with_identity false for a model without a head {IDENTITY}, got true. "
                "Leave it out, or train a model with identities."
            )
        if config.method == "bu":
            entry = frame_entry(config, model).model_copy(update={"identity": identity})
            entries = Entries(entry, individuals_of(model))
        else:
            entries = Entries(crop_entry(config), individuals)
        origin = origin_of(snapshot, None)
        scorer = scorer_name(config.net_type, origin)
        return cls(config, model, draft_manifest(config, entries, origin, scorer))

    def runner(
        self, device: str, batch_size: int, transform: Transform | None, individuals: int
    ) -> InferenceRunner:
        pose = self.manifest.pose
        normalization = pose.normalization if transform is None else _AS_GIVEN
        graph = PoseGraph(self.model, normalization, identity=pose.identity)
        runners: dict[str, type[BottomUpRunner | TopDownRunner | ConditionalRunner]] = {
            "bu": BottomUpRunner,
            "td": TopDownRunner,
            "ctd": ConditionalRunner,
        }
        return runners[self.config.method](
            self.manifest,
            individuals,
            engine=TorchEngine(graph, device),
            reader=ImageReader(self.config.data.colormode),
            batch_size=batch_size,
            transform=transform,
        )


def _typed(config: ModelConfig) -> PoseConfig:
    if isinstance(config, PoseConfig):
        return config
    if isinstance(config, (str, Path)):
        return PoseConfig.from_yaml(Path(config))
    return PoseConfig.from_mapping(dict(config), source="model_config")


def _check_numbers(
    config: PoseConfig, bodyparts: int | None, unique: int | None, individuals: int | None
) -> None:
    metadata = config.metadata
    known = {
        "num_bodyparts": (bodyparts, metadata.bodyparts),
        "num_unique_bodyparts": (unique, metadata.unique_bodyparts),
    }
    for argument, (given, names) in known.items():
        if given is not None and given != len(names):
            raise UsageError(
                f"Expected {argument} to be {len(names)}, as many as the configuration names "
                f"({', '.join(names) or 'none'}), got {given}. Leave it out."
            )
    if individuals is not None and individuals < 1:
        raise UsageError(f"Expected max_individuals of 1 or more, got {individuals}.")
    if not metadata.bodyparts:
        raise ConfigError("Expected metadata.bodyparts in the configuration, got none.")

"""What is exported: snapshots and their configuration, loaded into models.

DeepLabCut gives three forms: a pose snapshot beside its ``pytorch_config.yaml``, the same with a
detector snapshot, and the single file of its ``export_model`` with configuration, pose and
detector.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dlc_deploy.config import Detector, PoseConfig
from dlc_deploy.errors import ConfigError, UsageError
from dlc_deploy.training.models.detectors import DETECTORS, BaseDetector
from dlc_deploy.training.models.model import PoseModel
from dlc_deploy.training.snapshots import Snapshot, load_snapshot, load_weights

from .graph import BODYPARTS


@dataclass(frozen=True, slots=True)
class Source:
    """Models with their weights, and how they were trained.

    Attributes:
        config: the typed configuration.
        config_text: the configuration as it stood, for the bundle.
        detector: with its weights, or None for a bottom-up model.
    """

    snapshot: Path
    detector_snapshot: Path | None
    config: PoseConfig
    config_text: str
    model: PoseModel
    detector: BaseDetector | None

    @property
    def detector_config(self) -> Detector:
        """The detector section.

        Raises:
            ConfigError: the configuration has none.
        """
        if self.config.detector is None:
            raise ConfigError("Expected a detector section in the configuration, found none.")
        return self.config.detector


def load_source(snapshot: Path, detector: Path | None, config: Path | None) -> Source:
    """Load what is to be exported.

    Args:
        snapshot: a pose snapshot, or the single file of DeepLabCut's ``export_model``.
        detector: the detector's snapshot of a top-down model.
        config: by default the ``pytorch_config.yaml`` beside the snapshot.

    Raises:
        SnapshotError: a file that is no snapshot, or of another model than the configuration.
        ConfigError: the configuration is absent, not understood, or of a model that a bundle cannot
            hold yet.
        UsageError: a top-down model without a detector, or a bottom-up model with one.
    """
    pose_weights = load_snapshot(snapshot)
    pose_config, text = _configuration(snapshot, pose_weights, config)
    detector_state = pose_weights.detector
    if detector is not None:
        detector_state = load_snapshot(detector).model
    _check_method(pose_config, snapshot, detector_state is not None)
    _check_supported(pose_config, snapshot)
    try:
        model = PoseModel.build(pose_config.model.model_dump(), pretrained_backbone=False)
    except ConfigError as error:
        raise ConfigError(f"{snapshot}: {pose_config.net_type} cannot be built: {error}") from None
    load_weights(model, pose_weights.model, str(snapshot))
    built = None
    if detector_state is not None:
        section = pose_config.detector
        if section is None:
            raise ConfigError(
                "Expected a detector section in the configuration of a top-down model, found none. "
                "Give the configuration the detector was trained with: --config."
            )
        built = DETECTORS.build(dict(section.model), pretrained=False)
        load_weights(built, detector_state, str(detector or snapshot))
    return Source(snapshot, detector, pose_config, text, model.eval(), built and built.eval())


def _configuration(
    snapshot: Path, weights: Snapshot, config: Path | None
) -> tuple[PoseConfig, str]:
    import yaml

    if config is None and weights.config is not None:
        text = yaml.safe_dump(weights.config, sort_keys=False)
        return PoseConfig.from_mapping(weights.config, source=f"{snapshot} (its own config)"), text
    path = config or snapshot.parent / "pytorch_config.yaml"
    return PoseConfig.from_yaml(path), path.read_text(encoding="utf-8")


def _check_method(config: PoseConfig, snapshot: Path, has_detector: bool) -> None:
    if config.method == "td" and not has_detector:
        nearby = sorted(snapshot.parent.glob("*detector*.pt"))
        found = f" Found beside it: {nearby[-1].name}." if nearby else ""
        raise UsageError(
            f"{snapshot}: a top-down model ({config.net_type}) needs its detector, got none. "
            f"Pass --detector DETECTOR_SNAPSHOT.{found}"
        )
    if config.method == "bu" and has_detector:
        raise UsageError(
            f"{snapshot}: a bottom-up model ({config.net_type}) has no detector. "
            "Leave --detector out, or check which snapshot you meant."
        )


def _check_supported(config: PoseConfig, snapshot: Path) -> None:
    """A graph has one output, ``poses``; what it cannot hold must not be dropped in silence."""
    model = f"{snapshot}: {config.net_type}"
    individuals = len(config.metadata.individuals)
    if config.method == "bu" and individuals > 1:
        raise ConfigError(
            f"{model} finds {individuals} individuals bottom-up, which cannot be exported yet; "
            "expected a model of one animal, or a top-down model."
        )
    heads, unique = sorted(config.model.heads), config.metadata.unique_bodyparts
    if heads != [BODYPARTS] or unique:
        raise ConfigError(
            f"{model} has the heads {', '.join(heads)} and unique bodyparts {unique}; expected the "
            f"head {BODYPARTS} alone: unique bodyparts and identities cannot be exported yet."
        )

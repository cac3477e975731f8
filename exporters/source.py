"""What is exported: snapshots and their configuration, loaded into models.

DeepLabCut gives these forms: a pose snapshot beside its ``pytorch_config.yaml``, the same with a
detector snapshot or with the snapshot of a bottom-up model that gives conditions, the single file
of its ``export_model`` with configuration, pose and detector, and models of its zoo.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from dlc_deploy.config import Detector, PoseConfig
from dlc_deploy.errors import ConfigError, UsageError
from dlc_deploy.training.inference.graphs import BODYPARTS, IDENTITY
from dlc_deploy.training.inference.heads import check_heads
from dlc_deploy.training.inference.models import individuals_of, load_detector, load_pose_model
from dlc_deploy.training.models.detectors import BaseDetector
from dlc_deploy.training.models.model import PoseModel
from dlc_deploy.training.snapshots import Snapshot, load_snapshot

from . import modelzoo

_METHODS = {"bu": "bottom-up", "td": "top-down", "ctd": "conditional top-down"}


@dataclass(frozen=True, slots=True)
class PoseSource:
    """A pose model with its weights, and how it was trained.

    Attributes:
        config: the typed configuration.
        config_text: the configuration as it stood, for the bundle.
    """

    snapshot: Path
    config: PoseConfig
    config_text: str
    model: PoseModel

    @property
    def individuals(self) -> int:
        """Animals that a bottom-up model looks for."""
        return individuals_of(self.model)

    @property
    def keypoints(self) -> int:
        """Bodyparts of an animal."""
        return len(self.config.metadata.bodyparts)


@dataclass(frozen=True, slots=True)
class Source(PoseSource):
    """All models of a bundle.

    Attributes:
        detector: that of a top-down model, with its weights.
        conditions: the bottom-up model whose poses a conditional top-down model refines.
        scorer: the name of results of a model of the zoo; others get theirs from where they lie.
    """

    detector_snapshot: Path | None = None
    detector: BaseDetector | None = None
    conditions: PoseSource | None = None
    scorer: str | None = None

    @property
    def detector_config(self) -> Detector:
        """The detector section.

        Raises:
            ConfigError: the configuration has none.
        """
        if self.config.detector is None:
            raise ConfigError("Expected a detector section in the configuration, found none.")
        return self.config.detector


def load_source(
    snapshot: Path,
    detector: Path | None = None,
    config: Path | None = None,
    conditions: Path | None = None,
    individuals: int | None = None,
) -> Source:
    """Load what is to be exported.

    Args:
        snapshot: a pose snapshot, the single file of DeepLabCut's ``export_model``, or the name of
            a model of the zoo (see :mod:`.modelzoo`).
        detector: the detector's snapshot of a top-down model.
        config: by default the ``pytorch_config.yaml`` beside the snapshot.
        conditions: the snapshot of the bottom-up model of a conditional top-down one, with its
            configuration beside it.
        individuals: animals that a bottom-up model is to look for; as it was trained when None.

    Raises:
        SnapshotError: a file that is no snapshot, or of another model than the configuration.
        ConfigError: the configuration is absent, not understood, or of a model that a bundle cannot
            hold.
        UsageError: models that do not belong together, or more individuals than the model can find.
        UnavailableError: a model of the zoo could not be downloaded.
    """
    scorer = None
    if modelzoo.is_zoo_name(snapshot):
        found = _from_zoo(snapshot, detector, config)
        scorer, snapshot, detector = found.scorer, found.snapshot, found.detector
        weights = replace(load_snapshot(snapshot), config=found.config)
    else:
        weights = load_snapshot(snapshot)
    pose_config, text = _configuration(snapshot, weights, config)
    detector_state = weights.detector if detector is None else load_snapshot(detector).model
    _check_method(pose_config, snapshot, detector_state is not None, conditions is not None)
    check_heads(pose_config, snapshot)
    pose_config = _looking_for(individuals, pose_config)
    return Source(
        snapshot,
        pose_config,
        text,
        load_pose_model(snapshot, pose_config, weights.model),
        detector,
        None
        if detector_state is None
        else load_detector(detector or snapshot, pose_config, detector_state),
        None if conditions is None else _conditions(conditions, pose_config),
        scorer,
    )


def _from_zoo(name: Path, detector: Path | None, config: Path | None) -> modelzoo.ZooModel:
    if detector is not None or config is not None:
        raise UsageError(
            f"{name}: a model of the zoo has its own detector and configuration. Leave --detector "
            f"and --config out; a detector is chosen with {modelzoo.SYNTAX}."
        )
    return modelzoo.fetch(name)


def _conditions(snapshot: Path, refined_by: PoseConfig) -> PoseSource:
    weights = load_snapshot(snapshot)
    config, text = _configuration(snapshot, weights, None)
    if config.method != "bu":
        raise UsageError(
            f"{snapshot}: expected a bottom-up model to give conditions, got a {config.method} "
            f"model ({config.net_type}). Other models' poses go to dlc-analyze --conditions."
        )
    check_heads(config, snapshot)
    names = config.metadata.bodyparts, refined_by.metadata.bodyparts
    if names[0] != names[1]:
        raise UsageError(
            f"{snapshot}: expected the bodyparts of the model it gives conditions to "
            f"({', '.join(names[1])}), got {', '.join(names[0])}."
        )
    return PoseSource(snapshot, config, text, load_pose_model(snapshot, config, weights.model))


def _configuration(
    snapshot: Path, weights: Snapshot, config: Path | None
) -> tuple[PoseConfig, str]:
    import yaml

    if config is None and weights.config is not None:
        text = yaml.safe_dump(weights.config, sort_keys=False)
        return PoseConfig.from_mapping(weights.config, source=f"{snapshot} (its own config)"), text
    path = config or snapshot.parent / "pytorch_config.yaml"
    return PoseConfig.from_yaml(path), path.read_text(encoding="utf-8")


def _check_method(
    config: PoseConfig, snapshot: Path, has_detector: bool, has_conditions: bool
) -> None:
    model = f"{snapshot}: a {_METHODS[config.method]} model ({config.net_type})"
    if config.method == "td" and not has_detector:
        nearby = sorted(snapshot.parent.glob("*detector*.pt"))
        found = f" Found beside it: {nearby[-1].name}." if nearby else ""
        raise UsageError(
            f"{model} needs its detector, got none. Pass --detector DETECTOR_SNAPSHOT.{found}"
        )
    if config.method != "td" and has_detector:
        raise UsageError(
            f"{model} has no detector. Leave --detector out, or check which snapshot you meant."
        )
    if config.method != "ctd" and has_conditions:
        raise UsageError(
            f"{model} takes no conditions. "
            "Leave --conditions out, or check which snapshot you meant."
        )


def _looking_for(individuals: int | None, config: PoseConfig) -> PoseConfig:
    """The configuration with another number of animals, where the network does not depend on it."""
    if individuals is None or config.method != "bu":
        return config
    head = config.model.heads[BODYPARTS]
    known = head["predictor"].get("num_animals")
    if known is None and individuals != 1:
        raise UsageError(
            f"A single-animal bottom-up model finds 1 individual, got --max-individuals "
            f"{individuals}. Leave the option out."
        )
    if known is None:
        return config
    if IDENTITY in config.model.heads and individuals != len(config.metadata.individuals):
        raise UsageError(
            f"A model that tells {len(config.metadata.individuals)} individuals apart looks for as "
            f"many, got --max-individuals {individuals}. Leave the option out."
        )
    predictor = head["predictor"] | {"num_animals": individuals}
    heads = config.model.heads | {BODYPARTS: head | {"predictor": predictor}}
    return config.model_copy(update={"model": config.model.model_copy(update={"heads": heads})})

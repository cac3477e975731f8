"""Networks with the weights of their snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from dlc_deploy.config import PoseConfig
from dlc_deploy.errors import ConfigError
from dlc_deploy.training.models.detectors import DETECTORS, BaseDetector
from dlc_deploy.training.models.model import PoseModel
from dlc_deploy.training.models.predictors import IdentityPredictor
from dlc_deploy.training.snapshots import load_weights

from .graphs import BODYPARTS, IDENTITY

State = Mapping[str, torch.Tensor]


def load_pose_model(snapshot: Path, config: PoseConfig, state: State) -> PoseModel:
    """The pose model of a configuration with the weights ``state``, ready for inference.

    Args:
        snapshot: for messages.
        config: of the model.
        state: its weights.

    Raises:
        ConfigError: the configuration describes no model.
        SnapshotError: the weights are of another model.
    """
    try:
        model = PoseModel.build(config.model.model_dump(), pretrained_backbone=False)
    except ConfigError as error:
        raise ConfigError(f"{snapshot}: {config.net_type} cannot be built: {error}") from None
    if IDENTITY in model.heads and not isinstance(model.predictor(IDENTITY), IdentityPredictor):
        raise ConfigError(
            f"{snapshot}: expected an IdentityPredictor in the head {IDENTITY}, got "
            f"{type(model.predictor(IDENTITY)).__name__}. Check the configuration."
        )
    _check_animals(snapshot, config, model)
    load_weights(model, state, str(snapshot))
    return model.eval()


def load_detector(snapshot: Path, config: PoseConfig, state: State) -> BaseDetector:
    """The detector of a configuration with the weights ``state``, ready for inference.

    Raises:
        ConfigError: the configuration describes no detector.
        SnapshotError: the weights are of another one.
    """
    if config.detector is None:
        raise ConfigError(
            "Expected a detector section in the configuration of a top-down model, found none. "
            "Give the configuration the detector was trained with: --config."
        )
    built = DETECTORS.build(dict(config.detector.model), pretrained=False)
    load_weights(built, state, str(snapshot))
    return built.eval()


def individuals_of(model: PoseModel) -> int:
    """Animals that a bottom-up model looks for."""
    return model.predictor(BODYPARTS).num_animals


def _check_animals(snapshot: Path, config: PoseConfig, model: PoseModel) -> None:
    """A model whose predictor says nothing of animals finds one."""
    individuals = config.metadata.individuals
    told = "num_animals" in config.model.heads[BODYPARTS]["predictor"]
    if config.method == "bu" and not told and individuals_of(model) < len(individuals):
        raise ConfigError(
            f"{snapshot}: expected a model of several animals, but this bottom-up model finds "
            f"{individuals_of(model)} individual, got the individuals {', '.join(individuals)}. "
            "Give the configuration the model was trained with: --config; a predictor of your own "
            "says how many it finds (num_animals)."
        )

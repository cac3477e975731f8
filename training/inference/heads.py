"""Whether the heads of a configuration are those that a bundle can hold, and fit its names."""

from __future__ import annotations

from pathlib import Path

from dlc_deploy.config import PoseConfig
from dlc_deploy.engine import Arrays
from dlc_deploy.errors import ConfigError

from .graphs import BODYPARTS, IDENTITY, UNIQUE

_AGAIN = "Give the configuration the model was trained with: --config."


def check_heads(config: PoseConfig, snapshot: Path) -> None:
    """What a graph cannot hold must not be dropped in silence.

    Raises:
        ConfigError: other heads, a number of animals that is none, or names that do not fit the
            heads.
    """
    heads, unique = set(config.model.heads), config.metadata.unique_bodyparts
    if BODYPARTS not in heads or heads - {BODYPARTS, UNIQUE, IDENTITY}:
        raise ConfigError(
            f"{snapshot}: expected the head {BODYPARTS}, and perhaps {UNIQUE} and {IDENTITY}, got "
            f"{', '.join(sorted(heads)) or 'none'}. Name the heads of your model so."
        )
    if config.method != "bu" and heads != {BODYPARTS}:
        raise ConfigError(
            f"{snapshot}: expected the head {BODYPARTS} alone in a top-down model, got "
            f"{', '.join(sorted(heads))}. {_AGAIN}"
        )
    if bool(unique) != (UNIQUE in heads):
        raise ConfigError(
            f"{snapshot}: expected a head {UNIQUE} for unique bodyparts and only then, got the "
            f"unique bodyparts {unique} and the heads {', '.join(sorted(heads))}. {_AGAIN}"
        )
    for key in ("bodyparts", "unique_bodyparts", "individuals"):
        names = getattr(config.metadata, key)
        if len(set(names)) != len(names):
            raise ConfigError(
                f"{snapshot}: expected different names in metadata.{key}, got {', '.join(names)}. "
                f"{_AGAIN}"
            )
    if config.method == "bu":
        _check_animals(config, snapshot)


def check_names(config: PoseConfig, snapshot: Path, outputs: Arrays, individuals: int) -> None:
    """Results must not get names of something else.

    Args:
        config: of the model.
        snapshot: for the message.
        outputs: what its graph gave.
        individuals: poses that its predictor promises.

    Raises:
        ConfigError: the network finds another number of things than the configuration names, or
            than its predictor promises.
    """
    if "poses" in outputs and outputs["poses"].shape[1] != individuals:
        raise ConfigError(
            f"{snapshot}: expected {individuals} poses of an image, as many as num_animals of the "
            f"predictor says, got {outputs['poses'].shape[1]}. Correct one of them."
        )
    keys = {
        "poses": ("bodyparts", 2),
        "peaks": ("bodyparts", 1),
        "unique": ("unique_bodyparts", 2),
        "identity": ("individuals", -1),
    }
    for output, (key, axis) in keys.items():
        names = getattr(config.metadata, key)
        if output in outputs and outputs[output].shape[axis] != len(names):
            raise ConfigError(
                f"{snapshot}: expected a network of the {len(names)} metadata.{key} "
                f"({', '.join(names)}), got one of {outputs[output].shape[axis]}. {_AGAIN}"
            )


def _check_animals(config: PoseConfig, snapshot: Path) -> None:
    individuals = config.metadata.individuals
    predictor = config.model.heads[BODYPARTS].get("predictor")
    if not isinstance(predictor, dict):
        raise ConfigError(
            f"{snapshot}: expected a predictor in the head {BODYPARTS}, got {predictor!r}. {_AGAIN}"
        )
    animals = predictor.get("num_animals", 1)
    if type(animals) is not int or animals < 1:
        raise ConfigError(
            f"{snapshot}: expected num_animals of the predictor of the head {BODYPARTS} to be a "
            f"whole number from 1 on, got {animals!r}. {_AGAIN}"
        )
    told = "num_animals" in predictor
    if IDENTITY in config.model.heads and told and animals != len(individuals):
        raise ConfigError(
            f"{snapshot}: expected num_animals of a model that tells individuals apart to be the "
            f"number of its individuals, {len(individuals)}, got {animals}. {_AGAIN}"
        )

"""What a model needs to know of a project: the animals and their bodyparts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlc_deploy.errors import ConfigError

from .files import read_config_as_dict

MULTI = "MULTI!"
DEFAULT_INDIVIDUALS = ["individual_1"]
DEFAULT_NET_TYPE = "resnet_50"


@dataclass(frozen=True, slots=True)
class Project:
    """The part of a project's ``config.yaml`` that shapes a model; other keys are not read.

    Attributes:
        path: ``project_path``; the folder of the file where the project was given as a file.
        bodyparts: of each animal, without the unique bodyparts.
        with_identity: ``identity``; None where the project does not say.
    """

    path: str
    multi_animal: bool
    bodyparts: list[str]
    unique_bodyparts: list[str]
    individuals: list[str]
    with_identity: bool | None
    default_net_type: str

    @classmethod
    def read(cls, source: Mapping[str, Any] | Path | str) -> Project:
        """From the path of a ``config.yaml``, or from its keys and values.

        Raises:
            ConfigError: no project, or keys that contradict each other.
        """
        if isinstance(source, Mapping):
            return cls._from_mapping(source)
        path = Path(source)
        content = read_config_as_dict(path)
        return cls._from_mapping(content | {"project_path": str(path.parent)})

    @classmethod
    def _from_mapping(cls, content: Mapping[str, Any]) -> Project:
        """A key without a value is a key that was left out, as old projects have them."""
        project = {key: value for key, value in content.items() if value is not None}
        multi_animal = _truth(project, "multianimalproject") or False
        return cls(
            path=str(Path(project.get("project_path", "."))),
            multi_animal=multi_animal,
            bodyparts=_bodyparts(project, multi_animal),
            unique_bodyparts=_names(project, "uniquebodyparts", "unique_bodyparts") or [],
            individuals=_required(project, "individuals", DEFAULT_INDIVIDUALS),
            with_identity=_truth(project, "identity", "with_identity"),
            default_net_type=str(project.get("default_net_type", DEFAULT_NET_TYPE)),
        )


def _bodyparts(project: Mapping[str, Any], multi_animal: bool) -> list[str]:
    if multi_animal:
        return _required(project, "multianimalbodyparts")
    if project.get("bodyparts") == MULTI:
        raise ConfigError(
            "bodyparts: expected a list of names where multianimalproject is false, got "
            f"{MULTI!r}. Set multianimalproject: true, or list the bodyparts."
        )
    return _required(project, "bodyparts")


def _required(project: Mapping[str, Any], key: str, default: list[str] | None = None) -> list[str]:
    names = _names(project, key)
    if names is None and default is not None:
        return list(default)
    if not names:
        raise ConfigError(f"{key}: expected at least one name in the project, got {names}.")
    return names


def _names(project: Mapping[str, Any], *keys: str) -> list[str] | None:
    for key in keys:
        names = project.get(key)
        if names is None:
            continue
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise ConfigError(f"{key}: expected a list of names in the project, got {names!r}.")
        if len(set(names)) < len(names):
            raise ConfigError(f"{key}: expected every name once, got {list(names)}.")
        return list(names)
    return None


def _truth(project: Mapping[str, Any], *keys: str) -> bool | None:
    for key in keys:
        value = project.get(key)
        if value is not None and not isinstance(value, bool):
            raise ConfigError(f"{key}: expected true or false in the project, got {value!r}.")
        if value is not None:
            return value
    return None

"""The ``pytorch_config.yaml`` of a model for a project, as DeepLabCut 3.0.2 makes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlc_deploy.errors import ConfigError

from . import heads, net_types, running
from .backbones import Section
from .detectors import detector
from .files import write_config
from .project import Project
from .recipes import BACKBONES, MODELS, Recipe, Targets
from .running import Conditions
from .weight_initialization import weight_initialization

UNIQUE, IDENTITY = "unique_bodypart", "identity"
CONFIG_VERSION = 0


def make_pytorch_pose_config(
    project_config: Mapping[str, Any] | Path | str,
    pose_config_path: str | Path,
    net_type: str | None = None,
    top_down: bool = False,
    detector_type: str | None = None,
    weight_init: Mapping[str, Any] | None = None,
    save: bool = False,
    ctd_conditions: Conditions | None = None,
) -> dict[str, Any]:
    """The configuration of a model, in plain values and in DeepLabCut's order of keys.

    Args:
        project_config: a project's ``config.yaml``, or its keys and values.
        pose_config_path: where the configuration belongs; ``metadata`` names it.
        net_type: one of :func:`~dlc_deploy.training.available_models`; by default the project's
            ``default_net_type``.
        top_down: pair a backbone (``resnet_50`` and so on) with a detector. Other models are
            top-down or not by themselves.
        detector_type: one of :func:`~dlc_deploy.training.available_detectors`, for a top-down
            model; by default SSDLite.
        weight_init: the snapshot that training starts from, as ``train_settings.weight_init``.
        save: write the configuration to ``pose_config_path``.
        ctd_conditions: where the poses come from that a conditional (``ctd_*``) model refines: the
            number of a shuffle, (shuffle, snapshot index or name), or a file of predictions.

    Raises:
        ConfigError: unknown names, a project that the model is not for, or missing conditions.
        OutputError: the configuration could not be written.
    """
    project = Project.read(project_config)
    asked = project.default_net_type if net_type is None else net_type
    name = net_types.resolve(asked, top_down=top_down)
    recipe = _recipe(name, project, top_down)
    _check_heads(name, recipe, project)
    config: Section = _own(
        {
            "config_version": CONFIG_VERSION,
            "model": _model(recipe, project),
            "net_type": name,
            "method": recipe.method,
            "device": "auto",
            "metadata": _metadata(project, pose_config_path),
            "data": recipe.data,
            "runner": recipe.runner(),
            "train_settings": _train_settings(recipe, weight_init),
            "inference": running.inference(_conditions(name, recipe, ctd_conditions)),
            "logger": None,
            "with_center_keypoints": recipe.with_center_keypoints,
            "detector": detector(detector_type) if recipe.method == "td" else None,
            "resume_training_from": None,
        }
    )
    if save:
        write_config(pose_config_path, config)
    return config


def _recipe(name: str, project: Project, top_down: bool) -> Recipe:
    targets = Targets(len(project.bodyparts), len(project.individuals), project.multi_animal)
    if name in BACKBONES:
        return BACKBONES[name].recipe(targets, top_down)
    return MODELS[name](targets)


def _check_heads(name: str, recipe: Recipe, project: Project) -> None:
    """Only a head that sees the whole frame finds unique bodyparts and tells animals apart."""
    asked = {"uniquebodyparts": project.unique_bodyparts, "identity": project.with_identity}
    for key, value in asked.items():
        if value and recipe.method != "bu":
            raise ConfigError(
                f"{name} is top-down and has no head for {key}, which the project sets to "
                f"{value}. Take a bottom-up model such as resnet_50, or empty {key}."
            )


def _model(recipe: Recipe, project: Project) -> Section:
    section = recipe.model()
    channels = recipe.backbone.channels
    if project.unique_bodyparts:
        section["heads"][UNIQUE] = heads.heatmap_head(
            channels, len(project.unique_bodyparts), label_key="keypoints_unique"
        )
    if project.with_identity:
        section["heads"][IDENTITY] = heads.identity_head(channels, len(project.individuals))
    return section


def _metadata(project: Project, pose_config_path: str | Path) -> Section:
    return {
        "project_path": project.path,
        "pose_config_path": str(Path(pose_config_path)),
        "bodyparts": project.bodyparts,
        "unique_bodyparts": project.unique_bodyparts,
        "individuals": project.individuals,
        "with_identity": project.with_identity,
    }


def _train_settings(recipe: Recipe, weight_init: Mapping[str, Any] | None) -> Section:
    if weight_init is None:
        return recipe.train_settings
    return recipe.train_settings | {"weight_init": weight_initialization(weight_init)}


def _conditions(name: str, recipe: Recipe, conditions: Conditions | None) -> Section | None:
    if recipe.method != "ctd":
        return None
    if conditions is None:
        raise ConfigError(
            f"{name} refines poses of another model: pass ctd_conditions, for instance the number "
            "of that model's shuffle."
        )
    return running.conditions_section(conditions)


def _own(value: Any) -> Any:
    """A copy in which no two places share a list or a mapping, so that each may be edited."""
    if isinstance(value, dict):
        return {key: _own(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_own(item) for item in value]
    return value

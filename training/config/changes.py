"""Changes to single values of a ``pytorch_config.yaml``, checked before anything is trained."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping
from typing import Any

from dlc_deploy.config import PoseConfig
from dlc_deploy.errors import ConfigError

from . import data, running

_DETECTOR = "detector."
_RUNNER = running.pose_runner(running.steps(1e-4, {}))
_COMPLETE = {
    "runner": _RUNNER,
    "runner.snapshots": _RUNNER["snapshots"],
    "train_settings": running.train_settings(),
    "inference": running.inference(),
    "data.train": data.OFF,
}
"""Sections whose keys are all known; the others are checked as a whole, or are open to new keys."""


def changed_config(
    config: Mapping[str, Any], changes: Mapping[str, Any], source: str
) -> dict[str, Any]:
    """A copy of a configuration with other values, such as ``{"train_settings.epochs": 50}``.

    Args:
        config: the whole configuration.
        changes: new values by their key; full stops lead into sections.
        source: names the configuration in errors.

    Raises:
        ConfigError: unknown keys, values of another kind, or a configuration that no longer is one.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(config))
    for key, value in changes.items():
        _set(changed, key, value, source)
    PoseConfig.from_mapping(changed, source=source)
    return changed


def _set(config: dict[str, Any], key: str, value: Any, source: str) -> None:
    *sections, last = key.split(".")
    section: Any = config
    for number, name in enumerate(sections):
        inside = section.get(name)
        if not isinstance(inside, dict):
            where = ".".join(sections[: number + 1])
            raise ConfigError(
                f"{source}: {key}: expected {where} to be a section, got {inside!r}"
                f"{_meant(name, section)}"
            )
        section = inside
    known = _known(".".join(sections))
    if known is not None and last not in {**section, **known}:
        raise ConfigError(f"{source}: {key}: no such key{_meant(last, {**section, **known})}")
    _check_number(key, section.get(last), value, source)
    section[last] = value


def _known(section: str) -> Mapping[str, Any] | None:
    """The keys that a section takes; None where it takes any."""
    return _COMPLETE.get(section.removeprefix(_DETECTOR)) if section else PoseConfig.model_fields


def _check_number(key: str, former: Any, value: Any, source: str) -> None:
    """A number is needed where there is one; in ``data``, false switches off what has a number."""
    if not isinstance(former, int | float) or isinstance(former, bool) or value is None:
        return
    allowed = int if isinstance(former, int) else int | float
    if isinstance(value, bool):
        fits = "data" in key.split(".")
    else:
        fits = isinstance(value, allowed)
    if not fits:
        kind = "a whole number" if allowed is int else "a number"
        raise ConfigError(f"{source}: {key}: expected {kind} such as {former}, got {value!r}.")


def _meant(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else f"; known keys are {', '.join(known)}."

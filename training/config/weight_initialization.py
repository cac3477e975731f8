"""``train_settings.weight_init``: which snapshot training starts from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlc_deploy.errors import ConfigError

from .backbones import Section

DEFAULTS: Section = {
    "snapshot_path": None,
    "detector_snapshot_path": None,
    "dataset": None,
    "with_decoder": False,
    "memory_replay": False,
    "conversion_array": None,
    "bodyparts": None,
}


def weight_initialization(settings: Mapping[str, Any]) -> Section:
    """``settings`` with every key, checked.

    Raises:
        ConfigError: unknown keys, or settings that contradict each other.
    """
    unknown = sorted(set(settings) - set(DEFAULTS))
    if unknown:
        raise ConfigError(
            f"weight_init: expected keys out of {', '.join(DEFAULTS)}, got {', '.join(unknown)}."
        )
    section = DEFAULTS | dict(settings)
    for key in ("snapshot_path", "detector_snapshot_path"):
        section[key] = str(section[key]) if isinstance(section[key], Path) else section[key]
    for key in ("conversion_array", "bodyparts"):
        section[key] = None if section[key] is None else list(section[key])
    _check(section)
    return section


def _check(section: Section) -> None:
    array, bodyparts = section["conversion_array"], section["bodyparts"]
    if section["memory_replay"] and not section["with_decoder"]:
        raise ConfigError(
            "weight_init: memory_replay needs the decoder of the snapshot. Set with_decoder: true."
        )
    if array is None and (section["with_decoder"] or bodyparts is not None):
        raise ConfigError(
            "weight_init: with_decoder and bodyparts need a conversion_array, which tells for "
            "every bodypart its place among the snapshot's; got none."
        )
    if bodyparts is not None and len(bodyparts) != len(array):
        raise ConfigError(
            f"weight_init: expected as many bodyparts as numbers in conversion_array, got "
            f"{len(bodyparts)} and {len(array)}."
        )

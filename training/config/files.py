"""Configurations on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlc_deploy.errors import ConfigError, OutputError


def read_config_as_dict(config_path: str | Path) -> dict[str, Any]:
    """A YAML file as plain Python values.

    Raises:
        ConfigError: the file is absent, not YAML, or no mapping of keys.
    """
    from dlc_deploy.config import read_yaml

    content = read_yaml(Path(config_path))
    if not isinstance(content, dict):
        raise ConfigError(
            f"{config_path}: expected a mapping of keys, got {type(content).__name__}."
        )
    return content


def write_config(
    config_path: str | Path, config: Mapping[str, Any], overwrite: bool = True
) -> None:
    """Write a configuration as YAML, in the order of its keys; its folder is made.

    Raises:
        ConfigError: a value that YAML has no plain form for.
        OutputError: the file is there already and is to be kept, or it cannot be written.
    """
    import yaml

    from dlc_deploy import yaml12

    path = Path(config_path)
    if not overwrite and path.exists():
        raise OutputError(f"{path}: already there. Pass overwrite=True to replace it.")
    try:
        text = yaml12.dump(dict(config))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: expected plain values to write, got: {error}") from None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: could not be written: {error}") from None

"""The names that ``net_type`` takes."""

from __future__ import annotations

from dlc_deploy.errors import ConfigError

from .recipes import BACKBONES, MODELS

TOP_DOWN = "top_down_"
_FORMER_NAMES = {"dlcrnet_ms5": "dlcrnet_stride16_ms5"}


def available_models() -> list[str]:
    """Names of DeepLabCut's pose models, sorted; ``top_down_*`` are backbones with a detector."""
    return sorted([*BACKBONES, *(TOP_DOWN + name for name in BACKBONES), *MODELS])


def resolve(name: str, *, top_down: bool) -> str:
    """The name under which a configuration keeps a model.

    Raises:
        ConfigError: no such model, or a ``top_down_*`` one that is not to be top-down.
    """
    given = _FORMER_NAMES.get(name, name)
    net_type = given.removeprefix(TOP_DOWN)
    if net_type not in BACKBONES and net_type not in MODELS:
        raise ConfigError(
            f"net_type: expected one of {', '.join(available_models())}, got {name!r}."
        )
    if given != net_type and not top_down:
        raise ConfigError(
            f"net_type: {name} is top-down, but top_down is False. Pass top_down=True, or take "
            f"{net_type}."
        )
    return net_type

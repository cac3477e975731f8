"""Building blocks by name: how a configuration becomes modules.

@BACKBONES.register_module
class MyBackbone(BaseBackbone): ...

backbone = BACKBONES.build({"type": "MyBackbone", "kernel_size": 3})
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from dlc_deploy.errors import ConfigError

Block = TypeVar("Block")
Registered = TypeVar("Registered", bound=type[Any])


class Registry(Generic[Block]):
    """Classes of one kind of building block, by class name.

    Args:
        kind: what the blocks are, for messages ("backbone").
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._classes: dict[str, type[Block]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._classes

    def names(self) -> list[str]:
        """Names of the registered classes."""
        return sorted(self._classes)

    def register_module(self, cls: Registered) -> Registered:
        """Class decorator: make ``cls`` known under its name. A later class of the same name wins,
        so that a notebook cell can be run twice."""
        self._classes[cls.__name__] = cls
        return cls

    def takes(self, cfg: Mapping[str, Any], argument: str) -> bool:
        """Whether the class named by ``cfg["type"]`` has an argument of that name."""
        cls = self._classes.get(cfg.get("type", ""))
        return cls is not None and argument in inspect.signature(cls).parameters

    def build(self, cfg: Mapping[str, Any], **defaults: Any) -> Block:
        """An instance of the class named by ``cfg["type"]``, made from the other keys.

        Args:
            cfg: ``type`` and the arguments of the constructor.
            defaults: arguments where ``cfg`` has none.

        Raises:
            ConfigError: no or an unknown ``type``, or keys that the constructor does not take.
        """
        arguments = defaults | dict(cfg)
        name = arguments.pop("type", None)
        if name not in self._classes:
            raise ConfigError(
                f"Expected the type of a {self.kind} ({', '.join(self.names())}), got {name!r}. "
                "Check the configuration, or register your class first."
            )
        cls = self._classes[name]
        try:
            inspect.signature(cls).bind(**arguments)
        except TypeError as error:
            raise ConfigError(f"{self.kind} {name}: {error}. Check its keys.") from None
        return cls(**arguments)

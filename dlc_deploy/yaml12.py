"""YAML as DeepLabCut reads and writes it: scalars of YAML 1.2.

PyYAML alone follows YAML 1.1, where ``lr: 5e-4`` is text, and a bodypart called ``on`` is true.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_BOOL, _INT, _FLOAT = (f"tag:yaml.org,2002:{kind}" for kind in ("bool", "int", "float"))
_SCALARS = (
    (_BOOL, re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    (_INT, re.compile("^[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9_]+)$"), "-+0123456789"),
    (
        _FLOAT,
        re.compile(
            r"^(?:[-+]?[0-9][0-9_]*(?:\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)"
            r"|[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
        ),
        "-+0123456789.",
    ),
)


class _Loader(yaml.SafeLoader):
    """Plain Python values only; numbers and truth values as YAML 1.2 spells them."""


class _Dumper(yaml.SafeDumper):
    """Quotes every text that a reader of YAML 1.1 or of 1.2 would take for something else.

    A value that occurs twice is written twice, without anchors.
    """

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _decimal(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node).replace("_", "")
    bases = {"0b": 2, "0o": 8, "0x": 16}
    return int(text, bases.get(text.lstrip("+-")[:2], 10))


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag not in (_BOOL, _INT, _FLOAT)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_constructor(_INT, _decimal)
for _tag, _form, _first in _SCALARS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_tag, _form, list(_first))


def load(text: str) -> Any:
    """The value of a YAML document.

    Raises:
        yaml.YAMLError: not YAML, or an object that is no plain value.
    """
    return yaml.load(text, Loader=_Loader)


def dump(value: Any) -> str:
    """A YAML document, keys in the order of ``value``.

    Raises:
        yaml.YAMLError: a value that YAML has no plain form for.
    """
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=float("inf")
    )
    return text

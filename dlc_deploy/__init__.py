"""DeepLabCut 3 models as engines: export a snapshot, load a bundle, analyse a video.

``import dlc_deploy`` costs numpy and nothing more; each name below imports what it needs when it
is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dlc_deploy.poses import Boxes, Poses

if TYPE_CHECKING:
    from dlc_deploy.bundle import Bundle
    from dlc_deploy.exporters.export import export
    from dlc_deploy.runtime.analysis import analyze_video
    from dlc_deploy.runtime.estimator import load

__version__ = "0.1.0"

__all__ = ["Boxes", "Bundle", "Poses", "analyze_video", "export", "load"]

_HOMES = {
    "Bundle": "dlc_deploy.bundle",
    "analyze_video": "dlc_deploy.runtime.analysis",
    "export": "dlc_deploy.exporters.export",
    "load": "dlc_deploy.runtime.estimator",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

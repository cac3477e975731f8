"""Object detectors that find the animals of a top-down model."""

from __future__ import annotations

from dlc_deploy.errors import ConfigError

from . import data, running
from .backbones import Section

DEFAULT_DETECTOR = "ssdlite"
_FASTERRCNN = ("fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_resnet50_fpn_v2")


def available_detectors() -> list[str]:
    """Names that ``detector_type`` takes, sorted."""
    return sorted([DEFAULT_DETECTOR, *_FASTERRCNN])


def detector(name: str | None) -> Section:
    """The ``detector`` section; SSDLite where no name is given.

    Raises:
        ConfigError: no such detector.
    """
    name = DEFAULT_DETECTOR if name is None else str(name)
    return {
        "model": detector_model(name),
        "device": "auto",
        "data": data.detector(),
        "runner": running.detector_runner(running.steps(1e-4, {160: 1e-5})),
        "train_settings": running.train_settings(
            batch_size=1 if name in _FASTERRCNN else 16, epochs=250
        ),
        "inference": running.inference(),
        "resume_training_from": None,
    }


def detector_model(name: str, *, score_threshold: float = 0.01) -> Section:
    """The ``model`` section of a detector, which drops boxes below the threshold.

    Raises:
        ConfigError: no such detector.
    """
    if name not in available_detectors():
        raise ConfigError(
            f"detector_type: expected one of {', '.join(available_detectors())}, got {name!r}."
        )
    faster_rcnn = name in _FASTERRCNN
    return {
        "type": "FasterRCNN" if faster_rcnn else "SSDLite",
        "freeze_bn_stats": True,
        "freeze_bn_weights": False,
        "variant": name if faster_rcnn else None,
        "box_score_thresh": score_threshold,
    }

"""Where DeepLabCut has the makers of runners."""

from __future__ import annotations

from dlc_deploy.training.inference.build import (
    get_detector_inference_runner,
    get_inference_runners,
)

__all__ = ["get_detector_inference_runner", "get_inference_runners"]

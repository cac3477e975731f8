"""Configurations of DeepLabCut's models: made for a project, read and written."""

from .detectors import available_detectors
from .files import read_config_as_dict, write_config
from .net_types import available_models
from .pose_config import make_pytorch_pose_config

__all__ = [
    "available_detectors",
    "available_models",
    "make_pytorch_pose_config",
    "read_config_as_dict",
    "write_config",
]

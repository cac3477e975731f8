"""Loops that change weights."""

from .base import TrainingRunner
from .build import build_training_runner
from .csv_log import CSVLogger
from .detector import DetectorTrainingRunner
from .fitting import fit
from .logger import LOGGER, BaseLogger, ImageLoggerMixin
from .optimizers import build_optimizer
from .pose import PoseTrainingRunner
from .schedulers import LRListScheduler, build_scheduler
from .snapshots import TorchSnapshotManager

__all__ = [
    "LOGGER",
    "BaseLogger",
    "CSVLogger",
    "DetectorTrainingRunner",
    "ImageLoggerMixin",
    "LRListScheduler",
    "PoseTrainingRunner",
    "TorchSnapshotManager",
    "TrainingRunner",
    "build_optimizer",
    "build_scheduler",
    "build_training_runner",
    "fit",
]

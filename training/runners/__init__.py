"""Loops that change weights."""

from .base import TrainingRunner
from .build import build_training_runner
from .csv_log import CSVLogger
from .detector import DetectorTrainingRunner
from .logger import LOGGER, BaseLogger, ImageLoggerMixin
from .optimizers import build_optimizer
from .pose import PoseTrainingRunner
from .schedulers import LRListScheduler, build_scheduler
from .snapshots import TorchSnapshotManager
from .tensorboard_log import TensorboardLogger
from .wandb_log import WandbLogger

__all__ = [
    "LOGGER",
    "BaseLogger",
    "CSVLogger",
    "DetectorTrainingRunner",
    "ImageLoggerMixin",
    "LRListScheduler",
    "PoseTrainingRunner",
    "TensorboardLogger",
    "TorchSnapshotManager",
    "TrainingRunner",
    "WandbLogger",
    "build_optimizer",
    "build_scheduler",
    "build_training_runner",
]

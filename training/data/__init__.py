"""Labelled images as datasets: loaders, transforms and what joins samples to batches."""

from .base import Loader
from .cocoloader import COCOLoader
from .collate import COLLATE_FUNCTIONS
from .dataset import PoseDataset
from .dlcloader import DLCLoader
from .labels import LabeledImage
from .parameters import PoseDatasetParameters
from .snapshots import Snapshot, list_snapshots
from .transforms import build_transforms

__all__ = [
    "COLLATE_FUNCTIONS",
    "COCOLoader",
    "DLCLoader",
    "LabeledImage",
    "Loader",
    "PoseDataset",
    "PoseDatasetParameters",
    "Snapshot",
    "build_transforms",
    "list_snapshots",
]

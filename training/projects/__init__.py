"""DeepLabCut projects: where their files lie, and training sets made of their labels."""

from .folders import ProjectFolders
from .training_set import create_training_dataset

__all__ = ["ProjectFolders", "create_training_dataset"]

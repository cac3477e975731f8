"""What every loader is: labelled images of a project, with the model that is trained on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..config import read_config_as_dict
from ..task import Task
from .labels import LabeledImage
from .parameters import PoseDatasetParameters
from .samples import Drawn

if TYPE_CHECKING:
    from .dataset import PoseDataset

Mode = Literal["train", "test"]
Transform = Callable[[Drawn], Drawn]


class Loader(ABC):
    """Labelled images, split into train and test, and a model's configuration.

    Attributes:
        project_root: folder of the project.
        image_root: folder that relative paths of images start from.
        model_config_path: the ``pytorch_config.yaml``.
        model_cfg: its content.
        pose_task: what the pose model does.
    """

    def __init__(
        self, project_root: str | Path, image_root: str | Path, model_config_path: str | Path
    ) -> None:
        self.project_root = Path(project_root)
        self.image_root = Path(image_root)
        self.model_config_path = Path(model_config_path)
        self.model_cfg: dict[str, Any] = read_config_as_dict(self.model_config_path)
        self.pose_task = Task(self.model_cfg["method"])

    @property
    def model_folder(self) -> Path:
        """Where the configuration and the snapshots lie."""
        return self.model_config_path.parent

    @abstractmethod
    def labels(self, mode: Mode) -> Sequence[LabeledImage]:
        """Images of ``mode`` in the order of the project, without those that have no label."""

    @abstractmethod
    def get_dataset_parameters(self) -> PoseDatasetParameters:
        """What the labels mean."""

    def create_dataset(
        self,
        transform: Transform | None = None,
        mode: Mode = "train",
        task: Task = Task.BOTTOM_UP,
    ) -> PoseDataset:
        """The images of ``mode`` as a torch dataset for ``task``."""
        from .dataset import PoseDataset

        return PoseDataset(
            images=self.labels(mode),
            parameters=self.get_dataset_parameters(),
            transform=transform,
            mode=mode,
            task=task,
            gen_sampling=self.model_cfg.get("data", {}).get("gen_sampling"),
        )

"""What every loader is: labelled images of a project, with the model that is trained on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from dlc_deploy.errors import ConfigError, InputError

from ..config import read_config_as_dict, write_config
from ..config.changes import changed_config
from ..task import Task
from ..whole_files import whole_file
from .boxes import clipped_boxes
from .labels import LabeledImage
from .parameters import PoseDatasetParameters, parameters_of
from .samples import Drawn
from .snapshots import Snapshot, list_snapshots

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
        _normalize_unless_told(self.model_cfg)
        self.pose_task = _task_of(self.model_cfg, self.model_config_path)
        self._read: dict[Mode, Sequence[LabeledImage]] = {}

    @property
    def model_folder(self) -> Path:
        """Where the configuration and the snapshots lie."""
        return self.model_config_path.parent

    @abstractmethod
    def labels(self, mode: Mode) -> Sequence[LabeledImage]:
        """The images of ``mode`` in the order of the project; an empty split has none.

        Images without labels are among them, with no animals, and animals that some task cannot
        use: :meth:`create_dataset` chooses.

        Raises:
            InputError: labels or images that cannot be used.
        """

    def get_dataset_parameters(self) -> PoseDatasetParameters:
        """What the labels mean.

        Raises:
            ConfigError: the configuration does not name the bodyparts and the animals.
        """
        return parameters_of(self.model_cfg)

    def snapshots(self, detector: bool = False, best_in_last: bool = True) -> list[Snapshot]:
        """The snapshots of the pose model, or of its detector, by epoch.

        Args:
            detector: those of the detector.
            best_in_last: put the best one at the end, whichever epoch it is of.
        """
        task = Task.DETECT if detector else self.pose_task
        return list_snapshots(self.model_folder, task.snapshot_prefix, best_in_last)

    def update_model_cfg(self, updates: Mapping[str, Any], save_config: bool = True) -> None:
        """Change values of the configuration, such as ``{"train_settings.epochs": 50}``.

        Args:
            updates: new values by their key; full stops lead into sections.
            save_config: write the file too.

        Raises:
            ConfigError: unknown keys, or a configuration that no longer is one; nothing is changed
                then.
            OutputError: the file could not be written.
        """
        changed = changed_config(self.model_cfg, updates, str(self.model_config_path))
        if save_config:
            with whole_file(self.model_config_path) as partial:
                write_config(partial, changed)
        self.model_cfg = changed
        self._read.clear()

    def image_filenames(self, mode: Mode = "train") -> list[str]:
        """The paths of the images of ``mode``."""
        return [str(image.path) for image in self.labels(mode)]

    def ground_truth_keypoints(
        self, mode: Mode = "train", unique_bodypart: bool = False
    ) -> dict[str, NDArray[np.float64]]:
        """The labels by the path of the image.

        Args:
            mode: which images.
            unique_bodypart: the unique bodyparts instead of the animals'.

        Returns:
            For each image float64 [individuals, K, 3], or [1, U, 3]: x, y in pixels, visibility;
            zeros where nothing is labelled. The rows are the project's individuals where labels
            say which animal is which.

        Raises:
            InputError: unique bodyparts of a project without any.
        """
        parameters = self.get_dataset_parameters()
        if unique_bodypart and not parameters.unique_bpts:
            raise InputError(
                f"{self.model_config_path}: expected unique bodyparts, the model has none. "
                "Ask for those of the animals."
            )
        return {
            str(image.path): image.unique[None].copy()
            if unique_bodypart
            else _in_rows(image, parameters.max_num_animals)
            for image in self.labels(mode)
        }

    def ground_truth_bboxes(self, mode: Mode = "train") -> dict[str, dict[str, Any]]:
        """The boxes of the animals by the path of the image.

        Returns:
            For each image ``width`` and ``height`` in pixels, and ``bboxes``, float64 [B, 4] (left,
            top, width, height) inside the image; boxes of no extent are left out.
        """
        return {
            str(image.path): {
                "width": image.width,
                "height": image.height,
                "bboxes": clipped_boxes(image.boxes, image.height, image.width),
            }
            for image in self.labels(mode)
        }

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


def _normalize_unless_told(config: dict[str, Any]) -> None:
    """Images are normalised where the configuration does not say; exports take the same default."""
    for section in (config, config.get("detector") or {}):
        data = section.get("data") or {}
        for transforms in (data.get("train"), data.get("inference")):
            if isinstance(transforms, dict):
                transforms.setdefault("normalize_images", True)


def _task_of(model_cfg: dict[str, Any], path: Path) -> Task:
    method = model_cfg.get("method")
    try:
        return Task(method)
    except ValueError:
        known = ", ".join(task.aliases[0].lower() for task in Task)
        raise ConfigError(
            f"{path}: method: expected one of {known}, got {method!r}. "
            "Is this the pytorch_config.yaml of a pose model?"
        ) from None


def _in_rows(image: LabeledImage, individuals: int) -> NDArray[np.float64]:
    """The animals of an image in the rows of their individuals, those without a name in order."""
    usable = (image.keypoints[..., :2] > 0).any(axis=(1, 2))
    keypoints, names = image.keypoints[usable], image.individuals[usable]
    rows = names if (names >= 0).all() else np.arange(len(names))
    poses = np.zeros((individuals, *image.keypoints.shape[1:]))
    poses[rows] = keypoints
    return poses

"""Labels in COCO's format (``data/cocoloader.py``): a folder with ``annotations/train.json``,
``annotations/test.json`` and ``images``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlc_deploy.errors import ConfigError, InputError, some

from ..projects.images import image_shapes
from .base import Loader, Mode
from .boxes import bbox_from_keypoints
from .coco_file import CocoFile, Record, read_json
from .labels import LabeledImage
from .parameters import bbox_margin

ANNOTATIONS, IMAGES = "annotations", "images"
ONE_CLASS = 1


class COCOLoader(Loader):
    """The labelled images of a folder in COCO's format and a model's configuration.

    All categories are learnt as one, class 1, whatever their ids are; those with keypoints must
    agree on them. Annotations without a keypoint are left out; those without a box get one around
    their keypoints.

    Args:
        project_root: the folder.
        model_config_path: the ``pytorch_config.yaml``; snapshots belong beside it.
        train_json_filename: name of the annotations to train on, in ``annotations``.
        test_json_filename: of those to test with; None if there are none.

    Raises:
        ConfigError: no configuration, or one whose bodyparts or number of animals differ.
        InputError: annotations that are missing or not COCO's.
    """

    def __init__(
        self,
        project_root: str | Path,
        model_config_path: str | Path,
        train_json_filename: str = "train.json",
        test_json_filename: str | None = None,
    ) -> None:
        root = Path(project_root).absolute()
        super().__init__(root, root / IMAGES, model_config_path)
        self.train_json_filename = train_json_filename
        self.test_json_filename = test_json_filename
        names: dict[Mode, str | None]
        names = {"train": train_json_filename, "test": test_json_filename}
        self._files: dict[Mode, CocoFile | None] = {
            mode: self._open(name) if name else None for mode, name in names.items()
        }

    @staticmethod
    def load_json(project_root: str | Path, filename: str) -> dict[str, Any]:
        """The content of ``annotations/<filename>``.

        Raises:
            InputError: no such file, or not a JSON object.
        """
        return read_json(Path(project_root) / ANNOTATIONS / filename)

    @staticmethod
    def get_project_parameters(
        train_dict: Mapping[str, Any], test_dict: Mapping[str, Any] | None = None
    ) -> tuple[int, list[str]]:
        """What a configuration for these annotations needs.

        Returns:
            The most annotations of an image, in both files where two are given, and the bodyparts.

        Raises:
            InputError: not COCO's format, or no annotations.
        """
        train = CocoFile.from_mapping(train_dict, "the training annotations")
        files = [train]
        if test_dict is not None:
            files.append(CocoFile.from_mapping(test_dict, "the test annotations"))
        most = max(file.most_annotations for file in files)
        if most == 0:
            raise InputError(f"{train.source}: expected annotations, got none. Label some images.")
        return most, train.bodyparts

    def labels(self, mode: Mode) -> Sequence[LabeledImage]:
        """The images of ``mode`` in the order of the file; see :meth:`Loader.labels`."""
        if mode not in self._files:
            raise InputError(f"mode: expected train or test, got {mode!r}.")
        if mode not in self._read:
            file = self._files[mode]
            self._read[mode] = [] if file is None else self._labeled_images(file)
        return self._read[mode]

    def _open(self, filename: str) -> CocoFile:
        path = self.project_root / ANNOTATIONS / filename
        file = CocoFile.from_mapping(read_json(path), str(path))
        parameters = self.get_dataset_parameters()
        if file.bodyparts != parameters.bodyparts:
            raise ConfigError(
                f"{self.model_config_path}: expected the bodyparts of {path} in their order, "
                f"{file.bodyparts}, got {parameters.bodyparts}. Make the configuration anew with "
                "what COCOLoader.get_project_parameters gives."
            )
        if file.most_annotations > parameters.max_num_animals:
            raise ConfigError(
                f"{self.model_config_path}: expected at least {file.most_annotations} individuals, "
                f"as many as an image of {path} has, got {parameters.max_num_animals}. Make the "
                "configuration anew with what COCOLoader.get_project_parameters gives."
            )
        return file

    def _labeled_images(self, file: CocoFile) -> list[LabeledImage]:
        paths = [self._path(file, image) for image in file.images]
        sizes = [shape[1:] for shape in image_shapes(paths)]
        _refuse_other_sizes(file, paths, sizes)
        return [
            self._labeled_image(file, image, path, size)
            for image, path, size in zip(file.images, paths, sizes, strict=True)
        ]

    def _path(self, file: CocoFile, image: Record) -> Path:
        """A relative name starts at the folder of images."""
        name = image.get("file_name")
        if not isinstance(name, str) or not name:
            raise InputError(
                f"{file.source}: image {image['id']}: expected file_name, the path of the image, "
                f"got {name!r}."
            )
        return self.image_root / name

    def _labeled_image(
        self, file: CocoFile, image: Record, path: Path, size: tuple[int, int]
    ) -> LabeledImage:
        rows = [
            (keypoints, file.box(annotation), bool(annotation.get("iscrowd", 0)))
            for annotation in file.of_image(image)
            if (keypoints := file.keypoints(annotation)) is not None and (keypoints > 0).any()
        ]
        margin, number = bbox_margin(self.model_cfg), len(file.bodyparts)
        keypoints = np.array([_only_labelled(row[0]) for row in rows]).reshape(-1, number, 3)
        around = bbox_from_keypoints(keypoints, *size, margin)
        boxes = [own if row[1] is None else row[1] for row, own in zip(rows, around, strict=True)]
        return LabeledImage(
            path=path,
            id=image["id"],
            height=size[0],
            width=size[1],
            keypoints=keypoints,
            boxes=np.array(boxes, np.float64).reshape(-1, 4),
            individuals=np.full(len(rows), -1),
            categories=np.full(len(rows), ONE_CLASS),
            crowd=np.array([row[2] for row in rows], bool),
            unique=np.zeros((0, 3)),
        )


def _only_labelled(keypoints: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without the coordinates of what is not labelled."""
    labelled = keypoints[:, 2:] > 0
    return np.concatenate([np.where(labelled, keypoints[:, :2], 0), keypoints[:, 2:]], axis=1)


def _refuse_other_sizes(
    file: CocoFile, paths: Sequence[Path], sizes: Sequence[tuple[int, int]]
) -> None:
    """Labels of an image that was resized since would lie in wrong places."""
    wrong = [
        f"{path.name} {size[1]}x{size[0]} instead of {image['width']}x{image['height']}"
        for image, path, size in zip(file.images, paths, sizes, strict=True)
        if "height" in image and "width" in image and size != (image["height"], image["width"])
    ]
    if wrong:
        raise InputError(
            f"{file.source}: expected images of the width and height that the annotations say, got "
            f"{len(wrong)} of other sizes: {some(wrong)}. Put the images back "
            "that were labelled, or correct the sizes and the labels."
        )

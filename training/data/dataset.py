"""Labelled images as a torch dataset: DeepLabCut's PoseDataset (``data/dataset.py``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from dlc_deploy.errors import ConfigError, InputError
from dlc_deploy.preprocessing import CropPreprocessing

from ..task import Task
from .animals import Animals
from .base import Mode, Transform
from .boxes import bbox_from_keypoints
from .crops import Crop, blank_crop, crop_animal
from .generative_sampling import GenerativeSampler
from .labels import LabeledImage
from .parameters import PoseDatasetParameters
from .reading import CACHE_BYTES, ImageReader, PixelCache
from .samples import Annotations, Sample


class PoseDataset(Dataset[Sample]):
    """Images with their labels, as a model of ``task`` takes them.

    Whole images for bottom-up models and detectors; one crop for each labelled animal for
    (conditional) top-down models, cut from the transformed image. Animals without a visible
    keypoint are left out, and so are those without a box where boxes are needed.

    Args:
        images: the labelled images.
        parameters: what the labels mean.
        transform: what happens to images and labels; None leaves pixels at 0 to 255.
        mode: which split the images are; kept for callers.
        task: what the model does.
        gen_sampling: errors that conditions of a conditional top-down model are drawn with
            (``data.gen_sampling``).
        cache_bytes: memory that decoded images are kept in, for all workers together; 0 keeps none.

    Raises:
        ConfigError: crops are wanted but ``parameters`` say no size, or conditions without
            ``gen_sampling``.
        InputError: an image has more animals than ``parameters`` have individuals.
    """

    def __init__(
        self,
        images: Sequence[LabeledImage],
        parameters: PoseDatasetParameters,
        transform: Transform | None = None,
        mode: Mode = "train",
        task: Task = Task.BOTTOM_UP,
        gen_sampling: Mapping[str, Any] | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.images = images
        self.parameters = parameters
        self.transform = transform
        self.mode = mode
        self.task = task
        self.reader = ImageReader(parameters.color_mode, PixelCache(images, cache_bytes))
        self._crop = _crop_of(parameters) if task.of_crops else None
        self._sampler = None
        if task is Task.COND_TOP_DOWN:
            self._sampler = _sampler_of(parameters, gen_sampling)
        self._items = list(_items(images, task))
        if not task.of_crops:
            self._check_numbers_of_animals()

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Sample:
        number, chosen = self._items[index]
        labeled = self.images[number]
        pixels = self.reader.read(labeled.path)
        animals = Animals.of(labeled, chosen, pixels.shape[:2])
        image, animals = animals.transformed(pixels, self.transform)
        crop = Crop(image, (0, 0), (1.0, 1.0))
        context: dict[str, torch.Tensor] = {}
        if self._crop is not None:
            crop, animals, context = self._cut(image, animals, self._crop)
        return Sample(
            image=torch.from_numpy(crop.image).permute(2, 0, 1).to(torch.float32),
            image_id=labeled.id,
            path=str(labeled.path),
            original_size=torch.tensor(pixels.shape),
            offsets=torch.tensor(crop.offset, dtype=torch.float64),
            scales=torch.tensor(crop.scale, dtype=torch.float64),
            annotations=self._annotations(animals),
            context=context,
        )

    def _cut(
        self, image: NDArray[Any], animals: Animals, spec: CropPreprocessing
    ) -> tuple[Crop, Animals, dict[str, torch.Tensor]]:
        """The crop of the first animal, with its labels, and conditions where the task has them.

        DeepLabCut drops what is behind the point of boxes, before and after cropping.
        """
        near, animals = animals.rest(), animals.first()
        box = np.trunc(animals.boxes[0])
        conditions = None
        if self._sampler is not None:
            area = float(box[2] * box[3])
            conditions = self._sampler(animals.keypoints[0], near.keypoints, area, image.shape[:2])
            if (conditions[:, 2] > 0).any():
                height, width = image.shape[:2]
                margin = self.parameters.ctd_bbox_margin or 0
                box = np.trunc(bbox_from_keypoints(conditions, height, width, margin))
        if (box[2:] <= 0).any():
            crop = blank_crop(image, spec)
            animals = animals.hidden().with_box(box)
            conditions = None if conditions is None else animals.keypoints[0]
        else:
            crop = crop_animal(image, box, spec)
            animals = animals.in_crop(crop, box)
            conditions = None if conditions is None else crop.poses(conditions)
        context = {}
        if conditions is not None:
            context["cond_keypoints"] = torch.from_numpy(conditions[None].astype(np.float32))
        return crop, animals, context

    def _annotations(self, animals: Animals) -> Annotations:
        count = 1 if self.task.of_crops else self.parameters.max_num_animals
        if self.parameters.with_center_keypoints:
            animals = animals.with_centers()
        area = np.maximum(animals.boxes[:, 2], 1) * np.maximum(animals.boxes[:, 3], 1)
        return Annotations(
            keypoints=_padded(animals.keypoints, count, 0, np.float32),
            keypoints_unique=torch.from_numpy(animals.unique.astype(np.float32)),
            with_center_keypoints=torch.tensor(self.parameters.with_center_keypoints),
            area=_padded(area, count, 0, np.float32),
            boxes=_padded(animals.boxes, count, 0, np.float32),
            is_crowd=_padded(animals.crowd, count, 0, np.int64),
            labels=_padded(animals.categories, count, -1, np.int64),
            individual_ids=_padded(animals.individuals, count, -1, np.int64),
        )

    def _check_numbers_of_animals(self) -> None:
        most = self.parameters.max_num_animals
        for number, chosen in self._items:
            if len(chosen) > most:
                raise InputError(
                    f"Expected at most {most} animals in an image, got {len(chosen)} in "
                    f"{self.images[number].path}. Add individuals to the model's configuration "
                    "(metadata.individuals), or correct the labels."
                )


Item = tuple[int, NDArray[np.int64]]


def _items(images: Sequence[LabeledImage], task: Task) -> list[Item]:
    """Which animals of which image each item shows."""
    items: list[Item] = []
    for number, image in enumerate(images):
        animals = _usable(image, task)
        if task is Task.COND_TOP_DOWN:
            items += [(number, _with_neighbours(image, one, animals)) for one in animals]
        elif task is Task.TOP_DOWN:
            items += [(number, animals[place : place + 1]) for place in range(len(animals))]
        else:
            items.append((number, animals))
    return items


def _usable(image: LabeledImage, task: Task) -> NDArray[np.int64]:
    """Animals that ``task`` can use, by DeepLabCut's rules (``Loader.filter_annotations``)."""
    usable = (image.keypoints[..., 2] > 0).any(axis=1)
    if task is not Task.DETECT:
        usable &= (image.keypoints[..., :2] > 0).any(axis=(1, 2))
    if task in (Task.DETECT, Task.TOP_DOWN):
        usable &= (image.boxes[:, 2:] > 0).all(axis=1)
    return np.flatnonzero(usable)


def _with_neighbours(
    image: LabeledImage, animal: np.int64, animals: NDArray[np.int64]
) -> NDArray[np.int64]:
    """``animal``, and those whose boxes overlap its box; it is one of them, as in DeepLabCut."""
    start, end = image.boxes[:, :2], image.boxes[:, :2] + image.boxes[:, 2:]
    shared = np.minimum(end[animals], end[animal]) - np.maximum(start[animals], start[animal])
    return np.concatenate([[animal], animals[(shared > 0).all(axis=1)]])


def _crop_of(parameters: PoseDatasetParameters) -> CropPreprocessing:
    size = parameters.top_down_crop_size
    if size is None:
        raise ConfigError(
            "Expected the size of crops for a top-down model, got none. "
            "Set data.train.top_down_crop (width, height) in the model's configuration."
        )
    return CropPreprocessing(
        width=size[0],
        height=size[1],
        margin=parameters.top_down_crop_margin or 0,
        with_context=parameters.top_down_crop_with_context,
    )


def _sampler_of(
    parameters: PoseDatasetParameters, gen_sampling: Mapping[str, Any] | None
) -> GenerativeSampler:
    if gen_sampling is None:
        raise ConfigError(
            "Expected data.gen_sampling for a conditional top-down model, got none. "
            "Add it to the model's configuration: {keypoint_sigmas: 0.1} takes the defaults."
        )
    return GenerativeSampler.of(parameters.num_joints, gen_sampling)


def _padded(rows: NDArray[Any], count: int, value: int, dtype: Any) -> torch.Tensor:
    """``rows`` and as many rows of ``value`` as make ``count``."""
    padded = np.full((count, *rows.shape[1:]), value, dtype)
    padded[: len(rows)] = rows
    return torch.from_numpy(padded)

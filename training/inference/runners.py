"""Runners: images in, DeepLabCut's results out, with a network that runs in PyTorch.

As deeplabcut's runners/inference.py with its pre- and postprocessors; what happens between them is
the runtime's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlc_deploy.engine import Engine
from dlc_deploy.errors import InputError, UsageError
from dlc_deploy.manifest import DetectorGraph, Manifest
from dlc_deploy.poses import Poses
from dlc_deploy.runtime.pipelines import BottomUp, ConditionalTopDown
from dlc_deploy.runtime.pipelines.conditional_top_down import Conditioned
from dlc_deploy.runtime.pipelines.crops import Crops, cut_crops, poses_of_crops
from dlc_deploy.runtime.pipelines.frames import Placement, plan_frames
from dlc_deploy.runtime.pipelines.top_down import boxes_in_frame
from dlc_deploy.training.data.base import Transform
from dlc_deploy.training.data.reading import ImageReader
from dlc_deploy.training.task import Task

from .images import Context, Image, ImageBatch, Pixels, batches, transformed
from .results import Result, padded, results_of


class InferenceRunner(ABC):
    """Runs one network on images.

    Args:
        engine: of the network.
        reader: of image files.
        batch_size: images, and crops, that go through the network together.
        transform: what happens to images (to crops, for models that see them) in place of what the
            configuration says, normalisation included; the network gets what it gives.

    Attributes:
        task: what the network does.
        with_identity: whether results tell individuals apart.
    """

    task: Task
    with_identity = False

    def __init__(
        self, engine: Engine, reader: ImageReader, batch_size: int, transform: Transform | None
    ) -> None:
        if type(batch_size) is not int or batch_size < 1:
            raise UsageError(f"Expected a batch size of 1 or more, got {batch_size!r}.")
        self.engine, self.reader = engine, reader
        self.batch_size, self.transform = batch_size, transform

    @property
    def device(self) -> str:
        """Where the network runs."""
        return self.engine.device

    def inference(self, images: Iterable[Image | tuple[Image, Context]]) -> list[Result]:
        """Results of all images, in order.

        Args:
            images: paths or uint8 RGB arrays [H, W, 3]; or pairs of one and its context,
                ``{"bboxes": [B, 4], "bbox_scores": [B]}`` for top-down models and
                ``{"cond_kpts": [C, K, 3]}`` for conditional ones.

        Raises:
            InputError: no image, or a context that the network cannot do without.
        """
        return list(self.results(images))

    def results(self, images: Iterable[Image | tuple[Image, Context]]) -> Iterator[Result]:
        """The same, one by one, as they come."""
        for batch in batches(images, self.batch_size, self.reader):
            yield from self._run(batch)

    @abstractmethod
    def _run(self, batch: ImageBatch) -> list[Result]:
        """Results of images of one size."""

    def _frames(self, frames: Pixels) -> Iterator[tuple[NDArray[Any], Placement]]:
        """``frames`` after the transform, those that lie alike in the images together."""
        assert self.transform is not None
        pairs = [transformed(frame, self.transform) for frame in frames]
        for (placement, _), group in groupby(pairs, key=lambda pair: (pair[1], pair[0].shape)):
            yield np.stack([image for image, _ in group]), placement


class BottomUpRunner(InferenceRunner):
    """A bottom-up model.

    Args:
        manifest: of the model.
        individuals: rows that results have at least.
    """

    task = Task.BOTTOM_UP

    def __init__(self, manifest: Manifest, individuals: int, **options: Any) -> None:
        super().__init__(**options)
        self._manifest, self._individuals = manifest, individuals
        self.with_identity = manifest.pose.identity
        self._pipeline = BottomUp(manifest, self.engine, manifest.max_individuals)

    def _run(self, batch: ImageBatch) -> list[Result]:
        if self.transform is None:
            parts = iter([self._pipeline.prepare(batch.frames)])
        else:
            parts = self._frames(batch.frames)
        results: list[Result] = []
        for part in parts:
            poses, affinity = self._pipeline.link(self._pipeline.decode(part))
            results += results_of(poses, self._manifest, self._individuals, affinity)
        return results


class TopDownRunner(InferenceRunner):
    """The pose model of a top-down pair, which is given boxes.

    All boxes of an image are taken, also more than ``individuals``, which is how many rows results
    have at least.
    """

    task = Task.TOP_DOWN

    def __init__(self, manifest: Manifest, individuals: int, **options: Any) -> None:
        super().__init__(**options)
        assert manifest.pose.crop is not None
        self._manifest, self._individuals = manifest, individuals
        self._crop = manifest.pose.crop

    def _run(self, batch: ImageBatch) -> list[Result]:
        contexts = [_boxes(context) for context in batch.contexts]
        most = max(len(boxes) for boxes, _ in contexts)
        # Crops are rounded in the precision of the boxes.
        dtype = np.result_type(*(boxes.dtype for boxes, _ in contexts))
        xywh = np.full((len(contexts), most, 4), np.nan, dtype)
        for row, (boxes, _) in enumerate(contexts):
            xywh[row, : len(boxes)] = boxes
        crops = cut_crops(batch.frames, xywh, self._crop)
        if self.transform is not None:
            crops, _ = transformed_crops(crops, self.transform)
        keypoints = len(self._manifest.bodyparts)
        poses = poses_of_crops(
            self.engine, crops, xywh.shape[:2], keypoints, at_once=self.batch_size
        )
        results = results_of(poses, self._manifest, self._individuals, None)
        for row, (boxes, scores) in enumerate(contexts):
            found = results[row]["bodyparts"][: len(boxes)]
            results[row]["bodyparts"] = padded(found, self._individuals)
            results[row]["bboxes"] = padded(boxes, self._individuals)
            if scores is not None:
                results[row]["bbox_scores"] = padded(scores, self._individuals)
        return results


class ConditionalRunner(InferenceRunner):
    """A conditional top-down model, which is given poses to refine."""

    task = Task.COND_TOP_DOWN

    def __init__(self, manifest: Manifest, individuals: int, **options: Any) -> None:
        super().__init__(**options)
        self._manifest, self._individuals = manifest, individuals

    def _run(self, batch: ImageBatch) -> list[Result]:
        keypoints = len(self._manifest.bodyparts)
        given = [_conditions(context, keypoints) for context in batch.contexts]
        most = max(self._individuals, *map(len, given))
        values = np.full((len(given), most, keypoints, 3), np.nan, np.float32)
        for row, conditioned in enumerate(given):
            values[row, : len(conditioned)] = conditioned
        pipeline = ConditionalTopDown(self._manifest, self.engine, most, None)
        conditions = Poses(values[..., :2], values[..., 2])
        cropped = pipeline.crop(Conditioned(batch.frames, conditions))
        if self.transform is not None:
            crops, refined = transformed_crops(cropped.crops, self.transform, cropped.conditions)
            cropped = replace(cropped, crops=crops, conditions=refined)
        poses = pipeline.estimate(cropped)
        results = results_of(poses, self._manifest, self._individuals, None)
        for row, result in enumerate(results):
            there = np.isfinite(poses.score[row]).any(axis=1)
            found, boxes = result["bodyparts"][there], cropped.boxes.xywh[row, there]
            result["bodyparts"] = padded(found, self._individuals)
            result["bboxes"] = padded(boxes, self._individuals)
        return results


class DetectorRunner(InferenceRunner):
    """A detector; results have the best boxes, at most as many as its graph gives.

    Args:
        entry: of the detector.
        min_score: boxes of a lower score are left out.
    """

    task = Task.DETECT

    def __init__(self, entry: DetectorGraph, min_score: float | None, **options: Any) -> None:
        super().__init__(**options)
        self._preprocessing, self._min_score = entry.frame, min_score

    def _run(self, batch: ImageBatch) -> list[Result]:
        if self.transform is None:
            plan = plan_frames(self._preprocessing, *batch.frames.shape[1:3])
            parts = iter([(plan.apply(batch.frames), plan.placement)])
        else:
            parts = self._frames(batch.frames)
        results: list[Result] = []
        for images, placement in parts:
            found = self.engine.run({"images": images})
            boxes = boxes_in_frame(found["boxes"], found["scores"], placement)
            least = -np.inf if self._min_score is None else self._min_score
            for xywh, score in zip(boxes.xywh, boxes.score, strict=True):
                kept = score >= least  # NaN, a place without a box, is not
                results.append({"bboxes": xywh[kept], "bbox_scores": score[kept]})
        return results


def transformed_crops(
    crops: Crops, transform: Transform, conditions: NDArray[np.float32] | None = None
) -> tuple[Crops, NDArray[np.float32]]:
    """``crops`` after ``transform``, and their ``conditions`` [C, K, 3] in pixels of them."""
    given = np.zeros((len(crops.images), 0, 3), np.float32) if conditions is None else conditions
    if not len(crops.images):
        return crops, given
    pairs = [transformed(image, transform) for image in crops.images]
    scale = np.array([placement.scale for _, placement in pairs])
    offset = np.array([placement.offset for _, placement in pairs])
    moved = given.copy()
    moved[..., :2] = (given[..., :2] - offset[:, None]) / scale[:, None]
    images: NDArray[Any] = np.stack([image for image, _ in pairs])
    return crops._replace(
        images=images,
        scale=crops.scale * scale,
        offset=crops.scale * offset + crops.offset,
    ), moved


def _boxes(context: Context) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Boxes [B, 4] and, where they are known, their scores [B]."""
    if "bboxes" not in context:
        raise InputError(
            "A top-down model sees the boxes of animals, and no boxes were given with an image. "
            "Pass the detector's snapshot (detector_path) and its runner, or pairs of an image and "
            '{"bboxes": boxes [B, 4] (left, top, width, height)}.'
        )
    boxes = np.asarray(context["bboxes"])
    boxes = boxes if np.issubdtype(boxes.dtype, np.floating) else boxes.astype(np.float64)
    boxes = boxes.reshape(-1, 4) if not boxes.size else boxes
    scores = context.get("bbox_scores")
    scores = None if scores is None else np.asarray(scores)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or (scores is not None and len(scores) != len(boxes)):
        raise InputError(
            "Expected bboxes [B, 4] (left, top, width, height) and perhaps bbox_scores [B], got "
            f"{list(boxes.shape)} and {None if scores is None else list(scores.shape)}."
        )
    return boxes, scores


def _conditions(context: Context, keypoints: int) -> NDArray[Any]:
    """Poses [C, K, 3] to be refined."""
    if "cond_kpts" not in context:
        raise InputError(
            "A conditional top-down model refines poses, and none were given with an image. Pass "
            'pairs of an image and {"cond_kpts": poses [C, K, 3] (x, y, score)}.'
        )
    poses = np.asarray(context["cond_kpts"])
    if poses.ndim != 3 or poses.shape[1:] != (keypoints, 3):
        raise InputError(
            f"Expected cond_kpts [C, {keypoints}, 3] (x, y, score), got {list(poses.shape)}."
        )
    return poses

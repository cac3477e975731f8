"""How well boxes are found: COCO's average precision and recall.

The numbers are those of pycocotools and so of DeepLabCut (core/metrics/bbox.py), in percent, over
overlaps from 0.5 to 0.95 and at 0.5 and 0.75, for boxes of every size and at most 100 an image.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlc_deploy.errors import InputError, UnavailableError

Boxes = Mapping[str, Any]
_OVERLAPS = {"50:95": slice(None), "50": slice(0, 1), "75": slice(5, 6)}


def compute_bbox_metrics(
    ground_truth: Mapping[str, Boxes], detections: Mapping[str, Boxes]
) -> dict[str, float]:
    """Average precision and recall of boxes, from 0 to 100.

    Args:
        ground_truth: by image ``bboxes`` [B, 4] (left, top, width, height in pixels), ``width`` and
            ``height`` of the image.
        detections: of the same images ``bboxes`` [D, 4] and ``scores`` [D].

    Returns:
        ``mAP@50:95``, ``mAP@50``, ``mAP@75``, ``mAR@50:95``, ``mAR@50`` and ``mAR@75``: all 0 where
        nothing is detected at all, else all -1 where nothing is labelled.

    Raises:
        InputError: the images differ, or numbers of boxes and scores do.
        UnavailableError: pycocotools is not installed.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise UnavailableError(
            "Metrics of boxes need pycocotools, which is not installed. "
            "Run: pip install 'dlc-deploy[train]'"
        ) from error
    _check(ground_truth, detections)
    found = np.array([row for image in _rows(ground_truth, detections) for row in image])
    if not len(found):
        return {f"{kind}@{overlap}": 0.0 for kind in ("mAP", "mAR") for overlap in _OVERLAPS}
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports every step
        truth = COCO()
        truth.dataset = _dataset(ground_truth)
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(found), iouType="bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    every_size, most = 0, -1  # first of pycocotools' ranges of areas, last of its limits
    precision = evaluation.eval["precision"][..., every_size, most]
    recall = evaluation.eval["recall"][..., every_size, most]
    return {
        f"{kind}@{overlap}": _mean(values[chosen])
        for kind, values in (("mAP", precision), ("mAR", recall))
        for overlap, chosen in _OVERLAPS.items()
    }


def _check(ground_truth: Mapping[str, Boxes], detections: Mapping[str, Boxes]) -> None:
    if ground_truth.keys() != detections.keys():
        other = sorted(map(str, ground_truth.keys() ^ detections.keys()))
        raise InputError(
            f"Expected detections of the {len(ground_truth)} labelled images, got those of "
            f"{len(detections)} images; only one side has {', '.join(other[:3])}."
        )
    for image, found in detections.items():
        if len(found["bboxes"]) != len(found["scores"]):
            raise InputError(
                f"{image}: expected a score of each box, got {len(found['bboxes'])} boxes and "
                f"{len(found['scores'])} scores."
            )


def _dataset(ground_truth: Mapping[str, Boxes]) -> dict[str, Any]:
    """The labels as COCO's file would hold them."""
    images = [
        {"id": number, "file_name": name, "width": labels["width"], "height": labels["height"]}
        for number, (name, labels) in enumerate(ground_truth.items(), start=1)
    ]
    boxes = [
        (number, box)
        for number, labels in enumerate(ground_truth.values(), start=1)
        for box in np.asarray(labels["bboxes"]).reshape(-1, 4)
    ]
    annotations = [
        {
            "id": place,
            "image_id": number,
            "category_id": 1,
            "bbox": box,
            "area": max(1.0, float(box[2] * box[3])),
            "iscrowd": 0,
        }
        for place, (number, box) in enumerate(boxes, start=1)
    ]
    categories = [{"id": 1, "name": "animal"}]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def _rows(
    ground_truth: Mapping[str, Boxes], detections: Mapping[str, Boxes]
) -> Iterator[NDArray[np.float64]]:
    """Of each image float64 [D, 7]: image, left, top, width, height, score, category."""
    for number, name in enumerate(ground_truth, start=1):
        boxes = np.asarray(detections[name]["bboxes"], dtype=np.float64).reshape(-1, 4)
        scores = np.asarray(detections[name]["scores"], dtype=np.float64)
        ones = np.ones(len(boxes))
        yield np.column_stack([number * ones, boxes, scores, ones])


def _mean(values: NDArray[np.float64]) -> float:
    """In percent; -1 marks what pycocotools has no answer for."""
    known = values[values > -1]
    return 100 * float(known.mean()) if known.size else -1.0

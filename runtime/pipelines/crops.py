"""Boxes to crops, exactly as DeepLabCut cuts them for top-down models.

The geometry is that of deeplabcut's data/image.py (top_down_crop): edges are centre plus and minus
half the side, rounded half to even in the precision of the boxes; outside of the frame is zero; the
resize is OpenCV's bilinear one on uint8; x_frame = x_crop * scale + offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dlc_deploy.engine import Engine
from dlc_deploy.poses import Poses
from dlc_deploy.preprocessing import CropPreprocessing

from .bottom_up import poses_in_frame

Images = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class CropPlan:
    """Where B boxes of one frame are cut.

    Attributes:
        inside: int [B, 4]; left, top, right, bottom of the part that lies in the frame.
        padding: int [B, 4]; zero columns and rows around it: left, top, right, bottom.
        valid: bool [B]; False for boxes without extent, which show nothing.
    """

    inside: NDArray[np.int64]
    padding: NDArray[np.int64]
    valid: NDArray[np.bool_]

    @property
    def offset(self) -> NDArray[np.int64]:
        """Int [B, 2]; (x, y) of the crop's corner in the frame."""
        return self.inside[:, :2] - self.padding[:, :2]

    def scale(self, spec: CropPreprocessing) -> NDArray[np.float64]:
        """Float64 [B, 2]; frame pixels per crop pixel, (x, y)."""
        scale: NDArray[np.float64] = self._canvas() / np.array([spec.width, spec.height])
        return scale

    def cut(self, frame: Images, index: int, out: Images) -> None:
        """Write crop ``index`` of ``frame`` [H, W, 3] into ``out`` [height, width, 3]."""
        left, top, right, bottom = self.inside[index]
        if right <= left or bottom <= top:
            out[:] = 0
            return
        region = frame[top:bottom, left:right]
        pad_left, pad_top, pad_right, pad_bottom = map(int, self.padding[index])
        if pad_left or pad_top or pad_right or pad_bottom:
            region = cv2.copyMakeBorder(  # type: ignore[assignment]
                region, pad_top, pad_bottom, pad_left, pad_right, cv2.BORDER_CONSTANT, value=0
            )
        cv2.resize(region, (out.shape[1], out.shape[0]), dst=out, interpolation=cv2.INTER_LINEAR)

    def _canvas(self) -> NDArray[np.int64]:
        return self.inside[:, 2:] - self.inside[:, :2] + self.padding[:, :2] + self.padding[:, 2:]


def plan_crops(
    boxes: NDArray[np.floating[Any]], spec: CropPreprocessing, height: int, width: int
) -> CropPlan:
    """Where ``boxes`` [B, 4] (left, top, width, height) are cut from a frame of that size."""
    centre = boxes[:, :2] + boxes[:, 2:] / 2
    side = boxes[:, 2:] + 2 * spec.margin
    valid = np.isfinite(boxes).all(axis=1) & (side.max(axis=1, initial=0) > 0)
    if spec.with_context:
        side = _grown_to_aspect(side, spec.width / spec.height)
    edges = np.where(valid[:, None], np.concatenate([centre - side / 2, centre + side / 2], 1), 0)
    rounded = np.rint(edges).astype(np.int64)
    limits = np.array([width, height])
    inside = np.concatenate([np.maximum(rounded[:, :2], 0), np.minimum(rounded[:, 2:], limits)], 1)
    padding = np.abs(inside - rounded)
    if not spec.with_context:
        padding = padding + _padding_to_aspect(inside, spec.width / spec.height)
    if spec.center_padding:
        total = padding[:, :2] + padding[:, 2:]
        padding = np.concatenate([total // 2, total - total // 2], axis=1)
    plan = CropPlan(inside, padding, valid)
    return CropPlan(inside, padding, valid & (plan._canvas() > 0).all(axis=1))


class Crops(NamedTuple):
    """One crop for each valid box of N frames.

    Attributes:
        images: uint8 [C, height, width, 3].
        places: int [C, 2]; frame and box of each crop.
        scale, offset: float [C, 2]; x_frame = x_crop * scale + offset.
    """

    images: Images
    places: NDArray[np.int64]
    scale: NDArray[np.float64]
    offset: NDArray[np.float64]


def cut_crops(frames: Images, boxes: NDArray[np.floating[Any]], spec: CropPreprocessing) -> Crops:
    """Crops of ``frames`` [N, H, W, 3] at ``boxes`` [N, B, 4] (left, top, width, height); a box
    that is NaN or empty has none."""
    height, width = frames.shape[1:3]
    plans = [plan_crops(in_frame, spec, height, width) for in_frame in boxes]
    valid = np.array([plan.valid for plan in plans])
    places = np.argwhere(valid)
    images = np.empty((len(places), spec.height, spec.width, 3), np.uint8)
    for (frame, box), out in zip(places, images, strict=True):
        plans[frame].cut(frames[frame], box, out)
    scale = np.array([plan.scale(spec) for plan in plans])[valid]
    offset = np.array([plan.offset for plan in plans])[valid].astype(np.float64)
    return Crops(images, places, scale, offset)


def poses_of_crops(
    engine: Engine,
    crops: Crops,
    boxes: tuple[int, int],
    keypoints: int,
    *,
    at_once: int,
    conditions: NDArray[np.float32] | None = None,
) -> Poses:
    """Poses in pixels of the frames that ``engine`` gives for ``crops``; NaN for other boxes.

    Args:
        engine: of the pose graph.
        crops: C of them.
        boxes: N frames, and boxes in each.
        keypoints: K.
        at_once: no more crops go in together, so that memory stays that of the batch that was asked
            for, however many animals there are.
        conditions: float32 [C, K, 3], in pixels of the crops, where the graph refines poses.
    """
    inputs: dict[str, NDArray[Any]] = {"images": crops.images}
    if conditions is not None:
        inputs["conditions"] = conditions
    poses = np.empty((len(crops.images), 1, keypoints, 3), np.float32)
    for start in range(0, len(poses), at_once):
        part = slice(start, start + at_once)
        given = {name: values[part] for name, values in inputs.items()}
        poses[part] = engine.run(given)["poses"]
    found = poses_in_frame(poses, crops.scale[:, None, None], crops.offset[:, None, None])
    xy = np.full((*boxes, keypoints, 2), np.nan, np.float32)
    score = np.full((*boxes, keypoints), np.nan, np.float32)
    frame, box = crops.places.T
    xy[frame, box], score[frame, box] = found.xy[:, 0], found.score[:, 0]
    return Poses(xy, score)


def _grown_to_aspect(side: NDArray[Any], aspect: float) -> NDArray[Any]:
    """Sides [B, 2] grown, never shrunk, to width / height = ``aspect``."""
    wide, high = side[:, 0], side[:, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = wide / high
    return np.stack(
        [
            np.where(ratio < aspect, high * aspect, wide),
            np.where(ratio > aspect, wide / aspect, high),
        ],
        axis=1,
    ).astype(side.dtype)


def _padding_to_aspect(inside: NDArray[np.int64], aspect: float) -> NDArray[np.int64]:
    """Zero rows or columns [B, 4] that DeepLabCut adds around a tight crop.

    It multiplies where it means to divide, and loses an odd pixel; both only show for crops that
    are not square, and both are kept.
    """
    wide, high = (inside[:, 2:] - inside[:, :2]).T
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = wide / high
    rows = np.where(ratio > aspect, (wide - high * aspect).astype(np.int64) // 2, 0)
    columns = np.where(ratio < aspect, (high - wide / aspect).astype(np.int64) // 2, 0)
    return np.stack([columns, rows, columns, rows], axis=1)

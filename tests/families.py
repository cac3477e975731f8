"""Weights of the reference families: drawn from the names of the parameters, as fill.py states."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import numpy as np

from tests.reference import REFERENCE

SINGLE_ANIMAL = (
    "resnet_50",
    "resnet_101",
    "hrnet_w18",
    "hrnet_w32",
    "cspnext_s",
    "dekr_w18_single",
)
SEVERAL_ANIMALS = (
    "resnet_50_paf",
    "resnet_50_paf_identity",
    "resnet_50_paf_unique",
    "cspnext_s_paf",
    "hrnet_w18_paf_identity_unique",
    "dlcrnet_stride16_ms5",
    "dlcrnet_stride16_ms5_identity",
    "dlcrnet_stride32_ms5",
    "dekr_w18",
    "dekr_w18_identity",
    "dekr_w18_unique",
)
TOP_DOWN = (
    "rtmpose_s",
    "rtmpose_s_multi",
    "top_down_resnet_50",
    "top_down_hrnet_w18",
    "top_down_cspnext_s",
    "animaltokenpose_base",
)
CONDITIONAL = ("ctd_coam_w32", "ctd_prenet_hrnet_w32", "ctd_prenet_rtmpose_s")
POSE_MODELS = (*SINGLE_ANIMAL, *SEVERAL_ANIMALS, *TOP_DOWN, *CONDITIONAL)
DETECTORS = ("ssdlite", "fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_resnet50_fpn_v2")
KEPT = ("pos_embedding", "regular_matrix")


def folder(name: str) -> Path:
    return REFERENCE / "families" / name


def entries(name: str) -> list[dict]:
    """Key, shape and dtype of every entry of the state dict, in order."""
    return json.loads((folder(name) / "state_dict.json").read_text())


def weights(name: str) -> dict[str, np.ndarray]:
    """All weights of a family but the constants that its constructor makes."""
    path = folder(name)
    measured = dict(np.load(path / "bn.npz")) if (path / "bn.npz").exists() else {}
    scale = json.loads((path / "scale.json").read_text()) if (path / "scale.json").exists() else {}
    drawn = {}
    for entry in entries(name):
        key = entry["key"]
        if key in measured:
            drawn[key] = measured[key]
        elif key.rsplit(".", 1)[-1] not in KEPT:
            value = _draw(key, tuple(entry["shape"]))
            if key in scale:
                value = value * np.float32(scale[key])
            if key + "+" in scale:
                value = value + np.float32(scale[key + "+"])
            drawn[key] = np.array(value)
    return drawn


def _draw(key: str, shape: tuple[int, ...]) -> np.ndarray:
    random = np.random.default_rng(zlib.crc32(key.encode()))
    leaf = key.rsplit(".", 1)[-1]

    def normal():
        return random.standard_normal(shape, dtype=np.float32)

    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if leaf == "running_mean":
        return normal() * np.float32(0.1)
    if leaf == "running_var":
        return random.random(shape, dtype=np.float32) + np.float32(0.5)
    if len(shape) >= 2:
        return normal() * np.float32(math.sqrt(2 / math.prod(shape[1:])))
    if leaf in ("bias", "beta", "w"):
        return normal() * np.float32(0.1)
    return random.random(shape, dtype=np.float32) + np.float32(0.5)

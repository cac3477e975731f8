"""Weights of the reference families: drawn from the names of the parameters, as fill.py states."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import numpy as np

from tests.reference import REFERENCE

POSE_MODELS = (
    "resnet_50",
    "resnet_101",
    "hrnet_w18",
    "cspnext_s",
    "rtmpose_s",
    "top_down_resnet_50",
    "top_down_hrnet_w18",
    "top_down_cspnext_s",
)
"""The families whose pose models can be built and exported."""
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

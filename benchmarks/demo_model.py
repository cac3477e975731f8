"""The demo's network: small enough to train from scratch on two cores in a minute."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from dlc_deploy.preprocessing import Normalization
from dlc_deploy.training.inference.graphs import Normalize
from dlc_deploy.training.models import PoseModel
from dlc_deploy.training.runners import PoseTrainingRunner, TorchSnapshotManager
from dlc_deploy.training.runners.losses import EpochLosses
from dlc_deploy.training.snapshots import save_snapshot

from .drawn import KEYPOINTS, draw_animal

FRAME_SIZE = 256
"""Side of the demo's video in pixels."""

_INPUT_SIZE = 128  # of the network; the runtime scales every frame to it
_BATCH, _LEARNING_RATE = 8, 1e-2
_WALKS, _FRAMES_OF_A_WALK = 120, 20
_LOCREF_STD = 7.2801
_FEATURES = 96
_TRAIN_FOLDER = Path("dlc-models-pytorch/iteration-0/mouseJan1-trainset95shuffle1/train")

Pixels = NDArray[np.uint8]
Labels = NDArray[np.float32]


def training_frames(steps: int, seed: int) -> tuple[Pixels, Labels]:
    """Labelled frames of many short walks, all others than that of ``seed``.

    Drawing more walks takes the place of augmentation; no more are drawn than the steps will see.

    Returns:
        uint8 [N, 128, 128, 3] and float32 [N, 1, K, 3]: x, y and visibility.
    """
    walks = min(_WALKS, math.ceil(steps * _BATCH / _FRAMES_OF_A_WALK))
    drawings = [
        draw_animal(_FRAMES_OF_A_WALK, _INPUT_SIZE, seed + walk) for walk in range(1, walks + 1)
    ]
    drawn = np.concatenate([drawing.keypoints for drawing in drawings])
    # A point x of the video is x / 2 of the network's input for DeepLabCut and for the runtime,
    # while in a drawing of half the size it lies where its pixels are: at (x + 0.5) / 2 - 0.5.
    xy = drawn + 0.5 - 0.5 * _INPUT_SIZE / FRAME_SIZE
    labels = np.concatenate([xy, np.full_like(xy[..., :1], 2)], axis=-1)[:, None]
    return np.concatenate([drawing.frames for drawing in drawings]), labels.astype(np.float32)


def train(
    frames: Pixels,
    labels: Labels,
    *,
    steps: int,
    seed: int,
    folder: Path,
    progress: Callable[[int, float], None],
) -> Path:
    """Train from scratch and save as DeepLabCut does; returns the snapshot.

    Args:
        frames: as from :func:`training_frames`.
        labels: theirs.
        steps: batches to learn from.
        seed: of the first weights and of the order of the frames.
        folder: the project; the snapshot lies deep in it, its configuration beside it.
        progress: told each step's number and loss.
    """
    configuration = _configuration(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = PoseModel.build(configuration["model"])
    images = Normalize(Normalization())(torch.from_numpy(frames)).contiguous().numpy()
    loss = _fit(model, images, labels, steps=steps, seed=seed, folder=folder, progress=progress)
    metadata = {
        "epoch": math.ceil(steps * _BATCH / len(frames)),
        "metrics": {},
        "losses": {"train.total_loss": loss},
    }
    return _save(folder / _TRAIN_FOLDER, model, configuration, metadata)


def _fit(
    model: PoseModel,
    images: Labels,
    labels: Labels,
    *,
    steps: int,
    seed: int,
    folder: Path,
    progress: Callable[[int, float], None],
) -> float:
    """Train on images in memory, and return the last loss; the learning rate rises, then falls."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE)
    # A schedule shorter than ten steps has no step to rise in.
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=_LEARNING_RATE, total_steps=max(steps, 10), pct_start=0.2
    )
    runner = PoseTrainingRunner(model, optimizer, TorchSnapshotManager("snapshot", folder))
    losses = EpochLosses()
    model.train()
    for step, rows in enumerate(itertools.islice(_batches(len(images), seed), steps), 1):
        annotations = {"keypoints": torch.from_numpy(labels[rows])}
        losses.add(
            runner.step({"image": torch.from_numpy(images[rows]), "annotations": annotations})
        )
        losses.check(epoch=1)
        schedule.step()
        progress(step, losses.latest())
    model.eval()
    return losses.latest()


def _batches(count: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Indices of all frames in a new order each time round, for ever."""
    random = np.random.default_rng(seed)
    left = np.empty(0, np.int64)
    while True:
        while len(left) < _BATCH:
            left = np.concatenate([left, random.permutation(count)])
        yield left[:_BATCH]
        left = left[_BATCH:]


def _save(
    folder: Path, model: PoseModel, configuration: dict[str, Any], metadata: dict[str, Any]
) -> Path:
    folder.mkdir(parents=True)
    text = yaml.safe_dump(configuration, sort_keys=False)
    (folder / "pytorch_config.yaml").write_text(text, encoding="utf-8")
    snapshot = folder / f"snapshot-{metadata['epoch']:03}.pt"
    content = {"metadata": metadata, "model": model.state_dict(), "scheduler": None}
    save_snapshot(snapshot, content)
    return snapshot


def _configuration(seed: int) -> dict[str, Any]:
    """The whole ``pytorch_config.yaml``."""
    inputs = {
        "resize": {"height": _INPUT_SIZE, "width": _INPUT_SIZE, "keep_ratio": True},
        "normalize_images": True,
    }
    return {
        "config_version": 0,
        "model": {
            # timm's smallest ResNet. Its batch norms learn too: there is nothing to keep.
            "backbone": {
                "type": "ResNet",
                "model_name": "test_resnet",
                "output_stride": 8,
                "freeze_bn_stats": False,
                "freeze_bn_weights": False,
            },
            "heads": {"bodypart": _head()},
            "backbone_output_channels": _FEATURES,
        },
        "net_type": "resnet_tiny",
        "method": "bu",
        "device": "cpu",
        "metadata": {
            "pose_config_path": "pytorch_config.yaml",
            "bodyparts": list(KEYPOINTS),
            "unique_bodyparts": [],
            "individuals": ["mouse"],
        },
        "data": {"colormode": "RGB", "inference": inputs, "train": dict(inputs)},
        "train_settings": {"batch_size": _BATCH, "seed": seed},
    }


def _head() -> dict[str, Any]:
    """Discs of one and zero learn faster than Gaussians, with a cross-entropy instead of MSE."""
    refinement = {"locref_std": _LOCREF_STD}
    return {
        "type": "HeatmapHead",
        "predictor": {
            "type": "HeatmapPredictor",
            "apply_sigmoid": True,
            "location_refinement": True,
            **refinement,
        },
        "target_generator": {
            "type": "HeatmapPlateauGenerator",
            "num_heatmaps": len(KEYPOINTS),
            "pos_dist_thresh": 8,
            "generate_locref": True,
            **refinement,
        },
        "criterion": {
            "heatmap": {"type": "WeightedBCECriterion", "weight": 1.0},
            "locref": {"type": "WeightedHuberCriterion", "weight": 0.5},
        },
        "heatmap_config": _one_convolution(len(KEYPOINTS)),
        "locref_config": _one_convolution(2 * len(KEYPOINTS)),
    }


def _one_convolution(channels: int) -> dict[str, Any]:
    final = {"out_channels": channels, "kernel_size": 1}
    return {"channels": [_FEATURES], "kernel_size": [], "strides": [], "final_conv": final}

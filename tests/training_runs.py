"""Small runs: a loader of drawn images, and a network that is trained on them in moments."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from torchvision import tv_tensors

from dlc_deploy.training.apis.train import train
from dlc_deploy.training.data.base import Loader, Mode
from dlc_deploy.training.data.labels import LabeledImage
from dlc_deploy.training.data.parameters import PoseDatasetParameters
from dlc_deploy.training.models.backbones import BACKBONES
from dlc_deploy.training.runners import PoseTrainingRunner
from dlc_deploy.training.task import Task
from tests import small

SIDE = 32


@BACKBONES.register_module
class CertainBackbone(small.SmallBackbone):
    """Without dropout, which every process draws for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layers[-1].p = 0.0


def config(*, epochs: int = 3, batch_size: int = 2, **train_settings: Any) -> dict[str, Any]:
    """A configuration of the small model; the caller may change it."""
    content = small.config()
    content["data"]["train"] = {"normalize_images": True, "collate": None}
    content["runner"] = {
        "type": "PoseTrainingRunner",
        "gpus": None,
        "key_metric": "test.mAP",
        "key_metric_asc": True,
        "eval_interval": 2,
        "optimizer": {"type": "AdamW", "params": {"lr": 1e-2}},
        "scheduler": {
            "type": "LRListScheduler",
            "params": {"milestones": [2], "lr_list": [[1e-3]]},
        },
        "snapshots": {"max_snapshots": 5, "save_epochs": 1, "save_optimizer_state": False},
    }
    content["train_settings"] = {
        "batch_size": batch_size,
        "dataloader_workers": 0,
        "dataloader_pin_memory": False,
        "display_iters": 1000,
        "epochs": epochs,
        "seed": 42,
        "weight_init": None,
    } | train_settings
    return content


class DrawnLoader(Loader):
    """Images with a bright spot at each of three keypoints, each in its own colour.

    Args:
        folder: images and the model's folder are made in it.
        content: the model's configuration; None takes that of the folder, if there is one.
        train: images to train on.
        test: images to test on.
    """

    def __init__(
        self, folder: Path, content: dict[str, Any] | None = None, train: int = 5, test: int = 2
    ) -> None:
        path = folder / "train" / "pytorch_config.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is not None or not path.exists():
            path.write_text(yaml.safe_dump(content or config()))
        super().__init__(folder, folder, path)
        images = [draw_image(folder / f"img{place:03}.png", place) for place in range(train + test)]
        self._labels = {"train": images[:train], "test": images[train:]}

    def labels(self, mode: Mode) -> list[LabeledImage]:
        return self._labels[mode]

    def get_dataset_parameters(self) -> PoseDatasetParameters:
        return PoseDatasetParameters(list(small.BODYPARTS), [], ["mouse"])


def draw_image(path: Path, seed: int) -> LabeledImage:
    random = np.random.default_rng(seed)
    points = random.uniform(6, SIDE - 6, (1, 3, 2))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    spots = [np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 18) for x, y in points[0]]
    if not path.exists():
        cv2.imwrite(str(path), (255 * np.stack(spots[::-1], -1)).astype(np.uint8))
    corner, far = points.min(axis=1) - 4, points.max(axis=1) + 4
    return LabeledImage(
        path=path,
        id=seed,
        height=SIDE,
        width=SIDE,
        keypoints=np.concatenate([points, np.full((1, 3, 1), 2)], -1).astype(np.float32),
        boxes=np.concatenate([corner, far - corner], -1).astype(np.float32),
        individuals=np.zeros(1, np.int64),
        categories=np.ones(1, np.int64),
        crowd=np.zeros(1, bool),
        unique=np.zeros((0, 3), np.float32),
    )


def plain(drawn: Any) -> Any:
    """To 0..1."""
    return drawn | {"image": tv_tensors.Image(drawn["image"].float() / 255)}


def noisy(drawn: Any) -> Any:
    """To 0..1, with noise of torch's, NumPy's and Python's generators."""
    drawn = plain(drawn)
    noise = 0.1 * torch.rand(1) + 0.1 * np.random.rand()
    return drawn | {"image": tv_tensors.Image(drawn["image"] + noise)}


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["model"]


def train_in(root: Path, environment: dict[str, str]) -> None:
    """What the processes of a test do in the folder of a :class:`DrawnLoader`; each keeps the
    parameters that it ends with."""
    torch.set_num_threads(1)
    os.environ |= environment
    rank = environment.get("RANK", "0")
    loader = DrawnLoader(root, train=8)
    fit = PoseTrainingRunner.fit

    def fit_and_keep(self: Any, *values: Any, **options: Any) -> None:
        fit(self, *values, **options)
        torch.save(dict(self.model.named_parameters()), root / f"rank{rank}.pt")

    PoseTrainingRunner.fit = fit_and_keep  # type: ignore[method-assign]
    options: dict[str, Any] = {"transform": noisy, "inference_transform": plain}
    train(loader, loader.model_cfg, Task.BOTTOM_UP, from_scratch=True, **options)

"""Small networks drawn by code, their configurations and their snapshots."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from dlc_deploy.training.models import PoseModel
from dlc_deploy.training.models.backbones import BACKBONES, BaseBackbone
from dlc_deploy.training.models.detectors import DETECTORS
from dlc_deploy.training.snapshots import save_snapshot

BODYPARTS = ("snout", "leftear", "tailbase")
CHANNELS = 8


@BACKBONES.register_module
class SmallBackbone(BaseBackbone):
    """Two convolutions of stride 2, with what other backbones have: group and batch norms."""

    def __init__(self) -> None:
        super().__init__(stride=4)
        self.layers = nn.Sequential(
            nn.Conv2d(3, CHANNELS, 5, stride=2, padding=2),
            nn.GroupNorm(2, CHANNELS),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1),
            nn.BatchNorm2d(CHANNELS),
            nn.ReLU(),
            nn.Dropout(0.5),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.layers(x))


@BACKBONES.register_module
class SmallConditionalBackbone(SmallBackbone):
    """The same, which also sees how far each keypoint of a given pose is from the middle."""

    def forward(self, x: torch.Tensor, cond_kpts: torch.Tensor) -> torch.Tensor:
        away = (cond_kpts[..., :2].mean((1, 2)) - 32).view(-1, 1, 2, 1).mean(2, keepdim=True)
        return super().forward(x + 0.01 * away)


def deconv(out: int) -> dict[str, Any]:
    """One transposed convolution that doubles the size."""
    return {"channels": [CHANNELS, out], "kernel_size": [3], "strides": [2]}


def heatmap_head(keypoints: int = len(BODYPARTS)) -> dict[str, Any]:
    return {
        "type": "HeatmapHead",
        "predictor": {
            "type": "HeatmapPredictor",
            "apply_sigmoid": False,
            "clip_scores": True,
            "location_refinement": True,
            "locref_std": 7.2801,
        },
        "target_generator": {
            "type": "HeatmapGaussianGenerator",
            "num_heatmaps": keypoints,
            "pos_dist_thresh": 17,
            "heatmap_mode": "KEYPOINT",
            "generate_locref": True,
            "locref_std": 7.2801,
        },
        "criterion": {
            "heatmap": {"type": "WeightedMSECriterion", "weight": 1.0},
            "locref": {"type": "WeightedHuberCriterion", "weight": 0.05},
        },
        "heatmap_config": deconv(keypoints),
        "locref_config": deconv(2 * keypoints),
    }


def config(*, top_down: bool = False, individuals: int = 1) -> dict[str, Any]:
    """A pytorch_config of a small model; the caller may change it."""
    inference: dict[str, Any] = {"normalize_images": True}
    content: dict[str, Any] = {
        "metadata": {
            "project_path": ".",
            "bodyparts": list(BODYPARTS),
            "unique_bodyparts": [],
            "individuals": [f"mouse{i + 1}" for i in range(individuals)],
        },
        "model": {
            "backbone": {"type": "SmallBackbone"},
            "backbone_output_channels": CHANNELS,
            "heads": {"bodypart": heatmap_head()},
        },
        "net_type": "small",
        "method": "td" if top_down else "bu",
        "data": {"inference": inference},
    }
    if top_down:
        inference["top_down_crop"] = {"width": 64, "height": 64}
        resize = {"height": 320, "width": 320, "keep_ratio": True}
        content["detector"] = {
            "model": {"type": "SSDLite"},
            "data": {"inference": {"normalize_images": True, "resize": resize}},
        }
    return copy.deepcopy(content)


def several(content: dict[str, Any], *, unique: bool = False, identity: bool = False) -> None:
    """Make ``content`` a bottom-up project of two mice, whose keypoints part affinity fields link;
    with one unique bodypart, and with an identity head, if asked for."""
    edges = [[0, 1], [0, 2], [1, 2]]
    heads = content["model"]["heads"]
    heads["bodypart"] |= {
        "type": "DLCRNetHead",
        "predictor": {
            "type": "PartAffinityFieldPredictor",
            "num_animals": 2,
            "num_multibodyparts": len(BODYPARTS),
            "num_uniquebodyparts": 0,
            "nms_radius": 5,
            "sigma": 1.0,
            "locref_stdev": 7.2801,
            "min_affinity": 0.05,
            "graph": edges,
            "edges_to_keep": [0, 1, 2],
            "apply_sigmoid": True,
            "clip_scores": False,
        },
        "paf_config": deconv(2 * len(edges)),
        "num_stages": 1,
    }
    heads["bodypart"]["criterion"]["paf"] = {"type": "WeightedHuberCriterion", "weight": 0.1}
    content["metadata"]["individuals"] = ["mouse1", "mouse2"]
    if unique:
        content["metadata"]["unique_bodyparts"] = ["corner"]
        heads["unique_bodypart"] = heatmap_head(1)
    if identity:
        content["metadata"]["with_identity"] = True
        heads["identity"] = heatmap_head(2) | {
            "predictor": {"type": "IdentityPredictor", "apply_sigmoid": True},
            "locref_config": None,
        }


def model(content: dict[str, Any] | None = None, seed: int = 0) -> PoseModel:
    """The model of a configuration with weights drawn at random, so that heatmaps reach scores."""
    torch.manual_seed(seed)
    built = PoseModel.build((content or config())["model"])
    groups = "bodypart" in built.heads and built.predictor("bodypart").grouping is not None
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if name.startswith("heads"):
                nn.init.normal_(parameter, std=0.2)
            if groups and name == "heads.bodypart.heatmap_head.deconv_layers.0.bias":
                parameter -= 4  # few peaks, as a trained network gives them
            if groups and name.startswith(("heads.bodypart.paf", "heads.bodypart.locref")):
                parameter *= 0.2  # affinities about 1, as a trained network gives them
    return built.eval()


def detector(content: dict[str, Any], *, finds: bool = False) -> nn.Module:
    """The detector of a configuration as it is built, or one that ``finds`` boxes of different
    scores in any image."""
    torch.manual_seed(0)
    built = DETECTORS.build(content["detector"]["model"]).eval()
    if not finds:
        return built
    for module in built.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in")
    network: Any = built.model
    with torch.inference_mode():
        outputs = network.head(list(network.backbone(torch.randn(1, 3, 320, 320)).values()))
    heads = (network.head.classification_head, network.head.regression_head)
    with torch.no_grad():
        for head, name in zip(heads, ("cls_logits", "bbox_regression"), strict=True):
            for block in head.module_list:
                block[1].weight /= float(outputs[name].std())
    return built


def snapshot_of(module: nn.Module) -> dict[str, Any]:
    """DeepLabCut's layout around the weights of ``module``."""
    metadata = {"epoch": 10, "metrics": {"test.rmse": 3.5}, "losses": {"train.total_loss": 0.1}}
    return {"metadata": metadata, "model": module.state_dict(), "scheduler": {"last_epoch": 10}}


def write_model(folder: Path, content: dict[str, Any] | None = None, seed: int = 0) -> Path:
    """A folder as training leaves it: configuration and snapshot; the path of the snapshot."""
    content = content or config()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pytorch_config.yaml").write_text(yaml.safe_dump(content))
    path = folder / "snapshot-010.pt"
    save_snapshot(path, snapshot_of(model(content, seed)))
    return path

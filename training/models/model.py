"""A pose model: a backbone, perhaps a neck, and heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import nn

from dlc_deploy.errors import ConfigError

from .backbones import BaseBackbone, build_backbone
from .criterions import CRITERIONS, LOSS_AGGREGATORS
from .heads import HEADS, BaseHead
from .necks import NECKS, BaseNeck
from .predictors import PREDICTORS, BasePredictor
from .target_generators import TARGET_GENERATORS
from .weight_transfer import WeightInitialization

Outputs = dict[str, dict[str, torch.Tensor]]


class PoseModel(nn.Module):
    """Images to outputs of each head; state dicts carry DeepLabCut's keys.

    Args:
        backbone, neck: shared by all heads.
        heads: by name; ``bodypart``, and in multi-animal projects perhaps ``unique_bodypart`` and
            ``identity``.
    """

    def __init__(
        self, backbone: BaseBackbone, heads: Mapping[str, BaseHead], neck: BaseNeck | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleDict(heads)
        self.neck = neck
        self._strides = {
            name: backbone.stride / head.stride
            if head.stride > 0
            else backbone.stride * -head.stride
            for name, head in heads.items()
        }

    def forward(self, x: torch.Tensor, **backbone_inputs: torch.Tensor) -> Outputs:
        """``{head: {output: tensor}}`` of normalised images [N, 3, H, W] or one [3, H, W]."""
        features = self.backbone(x if x.ndim == 4 else x[None], **backbone_inputs)
        if self.neck is not None:
            features = self.neck(features)
        return {name: head(features) for name, head in self.heads.items()}

    def get_predictions(self, outputs: Outputs) -> Outputs:
        """``{head: {"poses": ...}}`` by each head's predictor, in pixels of the network's input."""
        return {
            name: self.head(name).predictor(self._strides[name], outputs[name])
            for name in self.heads
        }

    def get_target(self, outputs: Outputs, labels: dict[str, torch.Tensor]) -> dict[str, Any]:
        """Targets of each head."""
        return {
            name: self.head(name).target_generator(self._strides[name], outputs[name], labels)
            for name in self.heads
        }

    def get_loss(self, outputs: Outputs, targets: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Losses ``<head>_<name>``, and ``total_loss``, the mean of the heads' totals."""
        losses: dict[str, torch.Tensor] = {}
        for name in self.heads:
            found = self.head(name).get_loss(outputs[name], targets[name])
            losses |= {f"{name}_{key}": loss for key, loss in found.items()}
        totals = [losses[f"{name}_total_loss"] for name in self.heads]
        return losses | {"total_loss": torch.stack(totals).mean()}

    def predictor(self, head: str) -> BasePredictor:
        """What turns the outputs of ``head`` into keypoints."""
        return self.head(head).predictor

    def get_stride(self, head: str) -> float:
        """Input pixels per cell of the outputs of ``head``."""
        return self._strides[head]

    @classmethod
    def build(
        cls,
        cfg: Mapping[str, Any],
        weight_init: WeightInitialization | None = None,
        *,
        pretrained_backbone: bool = False,
    ) -> Self:
        """A model from the ``model`` section of a configuration.

        Args:
            cfg: with ``backbone``, ``heads`` and perhaps ``neck``.
            weight_init: a snapshot to take weights from.
            pretrained_backbone: start from the weights that are published for the backbone, which
                are downloaded once; a backbone without such weights is drawn at random.

        Raises:
            ConfigError: an unknown block, or keys that a block does not take.
            SnapshotError: the snapshot of ``weight_init`` is of another model.
            UnavailableError: the weights are not here and cannot be downloaded.
        """
        backbone = build_backbone(cfg["backbone"], pretrained=pretrained_backbone)
        neck = NECKS.build(cfg["neck"]) if cfg.get("neck") else None
        heads = {name: build_head(head) for name, head in cfg["heads"].items()}
        model = cls(backbone, heads, neck)
        if weight_init is not None:
            weight_init.load_into_model(model)
        return model

    def head(self, name: str) -> BaseHead:
        """The head of that name."""
        head = self.heads[name]
        assert isinstance(head, BaseHead)
        return head


def build_head(cfg: Mapping[str, Any]) -> BaseHead:
    """A head with its predictor, target generator and criterions.

    With several criterions, each one's ``weight`` goes to a WeightedLossAggregator.
    """
    arguments = dict(cfg)
    absent = {"predictor", "target_generator", "criterion"} - cfg.keys()
    if absent:
        raise ConfigError(f"A head needs {', '.join(sorted(absent))}; its keys are {list(cfg)}.")
    arguments["predictor"] = PREDICTORS.build(cfg["predictor"])
    arguments["target_generator"] = TARGET_GENERATORS.build(cfg["target_generator"])
    criterion = cfg["criterion"]
    if "type" in criterion:
        return HEADS.build({**arguments, "criterion": CRITERIONS.build(criterion)})
    weights = {name: one.get("weight", 1.0) for name, one in criterion.items()}
    arguments["criterion"] = {
        name: CRITERIONS.build({key: value for key, value in one.items() if key != "weight"})
        for name, one in criterion.items()
    }
    arguments["aggregator"] = LOSS_AGGREGATORS.build(
        {"type": "WeightedLossAggregator", "weights": weights}
    )
    return HEADS.build(arguments)

"""Weights for measuring a network that nobody has trained: drawn, and made sane.

Weights drawn as they are let numbers explode or vanish on their way through a deep network, and
rounding with them. Here every batch norm takes the statistics of its own input on one batch, and
the last layer of each output is scaled to what trained models give: peaks that stand out, and
offsets of some pixels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from torchvision.ops import FrozenBatchNorm2d

_LAYER = r"(?:final_conv|deconv_layers\.\d+)$"
_LAST_LAYERS = (
    # of pose heads: SimCC, DEKR, TokenPose, and maps
    (r"\.cls_[xy]$", 0.003),
    (r"heatmap_head\.head_heatmap\.1$", 0.3),
    (r"offset_final_layer\.\d+$", 3.0),
    (r"mlp_head\.\d+$", 1.5),
    (rf"heatmap_head\.{_LAYER}", 0.3),
    (rf"locref_head\.{_LAYER}", 0.5),
    (rf"paf_head\.{_LAYER}", 0.5),
    # of detectors
    (r"module_list\.\d+\.1$", 1.0),
    (r"rpn\.head\.cls_logits$", 1.0),
    (r"rpn\.head\.bbox_pred$", 0.3),
    (r"box_predictor\.(?:cls_score|bbox_pred)$", 1.0),
)
"""Modules by name, and the standard deviation that their output is given."""
# Of deformable convolutions: a pixel or two, as in trained models.
_INNER_LAYERS = ((r"(?:transform_matrix|translation)_conv$", 0.3),)
_SIGMOID_STD = 1.5
# So that few of the peaks before the sigmoid pass for animals.
_PAF_STD, _PAF_SHIFT = 3.0, -9.0

Run = Callable[[], Any]


def draw_weights(model: nn.Module, run: Run, seed: int = 0) -> None:
    """Replace the weights of ``model`` in place.

    Args:
        model: in evaluation mode.
        run: passes a batch of images through it.
        seed: of the weights.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith("pos_embedding"):
                parameter.copy_(_drawn(name, parameter.shape, generator))
        _settle_norms(model, run)
        if inner := _named(model, _INNER_LAYERS):
            _scale(model, inner, run)
            _settle_norms(model, run)
        _scale(model, last := dict(_last_layers(model)), run)
        for name in last:
            if _makes_peaks_of_affinity_fields(model, name):
                layer: Any = model.get_submodule(name)
                layer.bias += _PAF_SHIFT


def _drawn(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    if len(shape) >= 2:
        return torch.randn(shape, generator=generator) * math.sqrt(2 / math.prod(shape[1:]))
    if name.rsplit(".", 1)[-1] in ("bias", "beta", "w"):
        return torch.randn(shape, generator=generator) * 0.1
    return torch.rand(shape, generator=generator) + 0.5


def _settle_norms(model: nn.Module, run: Run) -> None:
    def settle(module: Any, arguments: tuple[Any, ...]) -> None:
        x = arguments[0]
        axes = [axis for axis in range(x.ndim) if axis != 1]
        module.running_mean.copy_(x.mean(axes))
        module.running_var.copy_(x.var(axes, unbiased=False).clamp_min(1e-4))

    norms = (nn.modules.batchnorm._BatchNorm, FrozenBatchNorm2d)
    found = [module for module in model.modules() if isinstance(module, norms)]
    with _removed([module.register_forward_pre_hook(settle) for module in found]):
        run()


def _scale(model: nn.Module, layers: Mapping[str, float], run: Run) -> None:
    """Give the outputs of ``layers`` their standard deviations."""
    spread: dict[str, float] = {}

    def measure(name: str) -> Callable[[Any, Any, Tensor], None]:
        return lambda module, arguments, output: spread.update({name: float(output.std())})

    modules = {name: model.get_submodule(name) for name in layers}
    with _removed([m.register_forward_hook(measure(name)) for name, m in modules.items()]):
        run()
    for name, module in modules.items():
        for parameter in module.parameters(recurse=False):
            parameter.mul_(layers[name] / spread[name])


def _named(model: nn.Module, patterns: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Layers with weights whose names match, and the deviation beside the first that does."""
    found: dict[str, float] = {}
    for name, module in model.named_modules():
        deviations = [std for pattern, std in patterns if re.search(pattern, name)]
        if deviations and list(module.parameters(recurse=False)):
            found[name] = deviations[0]
    return found


def _last_layers(model: nn.Module) -> Iterator[tuple[str, float]]:
    """Names of the last layers and the standard deviations of their outputs."""
    # Of layers that are numbered in one sequence the later one is the last.
    last = {
        re.sub(r"((?:deconv_layers|mlp_head)\.)\d+$", r"\1", name): (name, std)
        for name, std in _named(model, _LAST_LAYERS).items()
    }
    for name, std in last.values():
        if _makes_peaks_of_affinity_fields(model, name):
            yield name, _PAF_STD
        elif re.search(rf"heatmap_head\.{_LAYER}", name) and _sigmoid(model, name):
            yield name, _SIGMOID_STD
        else:
            yield name, std


def _makes_peaks_of_affinity_fields(model: nn.Module, name: str) -> bool:
    return bool(re.search(rf"heatmap_head\.{_LAYER}", name)) and hasattr(
        _head(model, name), "paf_head"
    )


def _sigmoid(model: nn.Module, name: str) -> bool:
    return bool(getattr(_head(model, name).predictor, "apply_sigmoid", False))


def _head(model: nn.Module, name: str) -> Any:
    """The head that a layer belongs to: ``heads.NAME.…``."""
    return model.get_submodule(".".join(name.split(".")[:2]))


@contextmanager
def _removed(hooks: list[RemovableHandle]) -> Iterator[None]:
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()

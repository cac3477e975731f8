"""The code blocks of the PyTorch API: a user's own backbone and head are registered, built and
exported under DeepLabCut's names."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.reference import REFERENCE

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from dlc_deploy.errors import ConfigError  # noqa: E402
from dlc_deploy.exporters.onnx import InputSize, write_onnx  # noqa: E402
from dlc_deploy.preprocessing import Normalization  # noqa: E402
from dlc_deploy.runtime.engines import open_engine  # noqa: E402
from dlc_deploy.training.inference.graphs import PoseGraph  # noqa: E402
from dlc_deploy.training.models import PoseModel  # noqa: E402
from dlc_deploy.training.models.backbones import BACKBONES, BaseBackbone  # noqa: E402
from dlc_deploy.training.models.heads import HEADS, BaseHead  # noqa: E402
from dlc_deploy.training.models.registry import Registry  # noqa: E402
from tests import small  # noqa: E402

pytestmark = pytest.mark.torch
SEED = REFERENCE.parent / "seed" / "pytorch-api.md"


@BACKBONES.register_module
class Pooling(BaseBackbone):
    def __init__(self, kernel_size: int = 2):
        super().__init__(stride=kernel_size)
        self.kernel_size = kernel_size

    def forward(self, x):
        return functional.max_pool2d(x, kernel_size=self.kernel_size)


@HEADS.register_module
class Pointwise(BaseHead):
    def __init__(self, channels, bodyparts, predictor, target_generator, criterion, aggregator):
        super().__init__(1, predictor, target_generator, criterion, aggregator)
        self.heatmap = nn.Conv2d(channels, bodyparts, 1)
        self.locref = nn.Conv2d(channels, 2 * bodyparts, 1)

    def forward(self, x):
        return {"heatmap": self.heatmap(x), "locref": self.locref(x)}


def own_model():
    head = small.heatmap_head()
    del head["heatmap_config"], head["locref_config"]
    head |= {"type": "Pointwise", "channels": 3, "bodyparts": 3}
    backbone = {"type": "Pooling", "kernel_size": 3}
    torch.manual_seed(0)
    return PoseModel.build({"backbone": backbone, "heads": {"bodypart": head}}).eval()


def seed_blocks():
    """Code blocks of the seed that define DummyBackbone and DummyHead, below our import root."""
    blocks = re.findall(r"```python3?\n(.*?)```", SEED.read_text(encoding="utf-8"), re.DOTALL)
    chosen = [block for block in blocks if "class Dummy" in block]
    assert len(chosen) == 2
    root = "deeplabcut.pose_estimation_pytorch"
    return [block.replace(root, "dlc_deploy.training") for block in chosen]


@pytest.mark.skipif(not SEED.is_file(), reason="the seed is not on this machine")
def test_the_seeds_code_blocks_run_with_another_import_root():
    names = {}
    for block in seed_blocks():
        exec(block, names)
    images = torch.rand(2, 3, 12, 15)
    features = names["backbone"](images)
    assert features.shape == (2, 3, 4, 5) and names["backbone"].stride == 3
    outputs = names["head"](torch.rand(2, 2048, 4, 5))
    assert outputs["heatmap"].shape == (2, 5, 4, 5) and outputs["locref"].shape == (2, 10, 4, 5)
    poses = names["head"].predictor(3.0, outputs)["poses"]
    assert poses.shape == (2, 1, 5, 3)
    labels = {"keypoints": torch.tensor([[[[6.0, 5.0, 2.0]] * 5]] * 2)}
    targets = names["head"].target_generator(3.0, outputs, labels)
    assert names["head"].get_loss(outputs, targets)["total_loss"] > 0


def test_an_own_backbone_and_head_become_a_model():
    model = own_model()
    outputs = model(torch.rand(2, 3, 30, 45))
    assert outputs["bodypart"]["heatmap"].shape == (2, 3, 10, 15)
    assert model.get_stride("bodypart") == 3
    poses = model.get_predictions(outputs)["bodypart"]["poses"]
    assert poses.shape == (2, 1, 3, 3) and not poses.isnan().any()


def test_an_own_backbone_and_head_are_exported(tmp_path):
    graph = PoseGraph(own_model(), Normalization()).eval()
    path = tmp_path / "pose.onnx"
    write_onnx(graph, path, size=InputSize((48, 64), fixed=False), outputs=("poses",))
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (3, 50, 77, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = graph(torch.from_numpy(images))[0].numpy()
    assert expected[..., :2].std() > 5
    engine = open_engine(path)
    # float32 rounding of coordinates below 100 px
    np.testing.assert_allclose(engine.run({"images": images})["poses"], expected, atol=1e-4)
    engine.close()


def test_pretrained_weights_are_asked_of_a_backbone_only_when_wanted():
    seen = []

    @BACKBONES.register_module
    class Remembering(Pooling):
        def __init__(self, pretrained=False):
            super().__init__()
            seen.append(pretrained)

    content = small.config()["model"]
    content["backbone"] = {"type": "Remembering", "pretrained": True}
    PoseModel.build(content)
    PoseModel.build(content, pretrained_backbone=True)
    assert seen == [False, True]


def test_an_unknown_type_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"type of a backbone \(.*HRNet.*ResNet.*got 'Resnet'"):
        BACKBONES.build({"type": "Resnet"})
    with pytest.raises(ConfigError, match="got None"):
        BACKBONES.build({"model_name": "resnet50"})


def test_keys_that_a_class_does_not_take_are_refused_by_name():
    with pytest.raises(ConfigError, match=r"backbone Pooling: .*kernel"):
        BACKBONES.build({"type": "Pooling", "kernel": 3})


def test_defaults_give_way_to_the_configuration():
    assert BACKBONES.build({"type": "Pooling"}, kernel_size=5).stride == 5
    assert BACKBONES.build({"type": "Pooling", "kernel_size": 3}, kernel_size=5).stride == 3


def test_a_class_registered_again_takes_the_place_of_the_former():
    registry: Registry = Registry("block")
    first = registry.register_module(type("Block", (), {}))
    second = registry.register_module(type("Block", (), {}))
    assert first is not second and type(registry.build({"type": "Block"})) is second
    assert registry.names() == ["Block"] and "Block" in registry


@pytest.mark.parametrize("key", ["predictor", "target_generator", "criterion"])
def test_a_head_without_one_of_its_parts_is_refused_by_its_name(key):
    content = small.config()["model"]
    del content["heads"]["bodypart"][key]
    with pytest.raises(ConfigError, match=f"A head needs {key}"):
        PoseModel.build(content)

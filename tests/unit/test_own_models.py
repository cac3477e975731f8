"""A user's own backbone, head and predictor: trained, exported and run from a bundle."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from dlc_deploy.bundle import Bundle  # noqa: E402
from dlc_deploy.command import main  # noqa: E402
from dlc_deploy.errors import ConfigError  # noqa: E402
from dlc_deploy.exporters.export import export  # noqa: E402
from dlc_deploy.registration import register_models  # noqa: E402
from dlc_deploy.runtime.estimator import load  # noqa: E402
from dlc_deploy.training.apis.utils import get_inference_runners  # noqa: E402
from dlc_deploy.training.models import PoseModel  # noqa: E402
from dlc_deploy.training.models.predictors import BasePredictor  # noqa: E402
from dlc_deploy.training.snapshots import save_snapshot  # noqa: E402
from tests import small  # noqa: E402

pytestmark = pytest.mark.torch
SIZE = (60, 90)
# A square of 9 px is as likely at its corners as at its middle, for a network that sees colours.
REACHED_PX = 6.5
TEXT = '''
import torch
from torch import nn
from torch.nn import functional

from dlc_deploy.training.models.backbones import BACKBONES, BaseBackbone
from dlc_deploy.training.models.heads import HEADS, BaseHead
from dlc_deploy.training.models.predictors import PREDICTORS, BasePredictor


@BACKBONES.register_module
class MaxPool(BaseBackbone):
    def __init__(self, kernel_size=2):
        super().__init__(stride=kernel_size)
        self.kernel_size = kernel_size

    def forward(self, x):
        return functional.max_pool2d(x, kernel_size=self.kernel_size)


@HEADS.register_module
class OneByOne(BaseHead):
    def __init__(
        self, num_input_channels, num_bodyparts, predictor, target_generator, criterion, aggregator
    ):
        super().__init__(1, predictor, target_generator, criterion, aggregator)
        self.conv_heatmap = nn.Conv2d(num_input_channels, num_bodyparts, 1)
        self.locref_heatmap = nn.Conv2d(num_input_channels, 2 * num_bodyparts, 1)

    def forward(self, x):
        return {"heatmap": self.conv_heatmap(x), "locref": self.locref_heatmap(x)}


@PREDICTORS.register_module
class Gravity(BasePredictor):
    """The centre of gravity of each squared heatmap, without any locref."""

    def __init__(self, animals=1):
        super().__init__()
        self.animals = animals

    def decode(self, stride, outputs):
        mass = outputs["heatmap"].clamp(min=0) ** 4
        height, width = mass.shape[2:]
        x = torch.arange(width, device=mass.device) + 0.5
        y = torch.arange(height, device=mass.device) + 0.5
        total = mass.sum((2, 3)).clamp(min=1e-6)
        xy = torch.stack([(mass.sum(2) * x).sum(2), (mass.sum(3) * y).sum(2)], 2) / total[..., None]
        score = mass.amax((2, 3))[..., None].clamp(0, 1)
        poses = torch.cat([xy * stride, score], 2)[:, None]
        return {"poses": poses.expand(-1, self.animals, -1, -1)}


@PREDICTORS.register_module
class GravityOfTwo(Gravity):
    """As DeepLabCut's predictors, with forward alone, and twice the same animal."""

    num_animals = 2

    def __init__(self):
        super().__init__(2)
'''


@pytest.fixture(scope="module", autouse=True)
def own_models(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "my_models.py"
    path.write_text(TEXT)
    register_models(path)
    return path


def configuration(predictor=None, individuals=1):
    content = small.config(individuals=individuals)
    content["model"]["backbone"] = {"type": "MaxPool", "kernel_size": 3}
    content["model"]["backbone_output_channels"] = 3
    head = content["model"]["heads"]["bodypart"]
    del head["heatmap_config"], head["locref_config"]
    head |= {"type": "OneByOne", "num_input_channels": 3, "num_bodyparts": 3}
    if predictor is not None:
        head["predictor"] = predictor
    content["net_type"] = "max_pool"
    return content


def drawn(count, seed):
    """Images with a red, a green and a blue square, and where their middles are."""
    random = np.random.default_rng(seed)
    frames = random.integers(0, 30, (count, *SIZE, 3), dtype=np.uint8)
    points = np.zeros((count, 3, 2))
    for frame, places in zip(frames, points, strict=True):
        cells = random.permutation(6)[:3]  # apart from each other
        for channel, cell in enumerate(cells):
            left, top = (cell % 3, cell // 3) * np.array(30) + random.integers(3, 18, 2)
            frame[top : top + 9, left : left + 9, channel] = 255
            places[channel] = left + 4.5, top + 4.5
    return frames, points


@pytest.fixture(scope="module")
def trained(own_models):
    """The model after some plain optimiser steps; what predicts has no part in them."""
    torch.manual_seed(0)
    model = PoseModel.build(configuration()["model"]).train()
    frames, points = drawn(8, seed=1)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    images = ((torch.from_numpy(frames) / 255 - mean) / std).permute(0, 3, 1, 2)
    keypoints = torch.from_numpy(np.concatenate([points, np.full((8, 3, 1), 2)], 2)).float()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        outputs = model(images)
        targets = model.get_target(outputs, {"keypoints": keypoints[:, None]})
        loss = model.get_loss(outputs, targets)["total_loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    return model.eval()


@pytest.fixture
def snapshot_of(tmp_path, trained):
    """A function that writes a configuration and the trained model's snapshot."""

    def write(content, name="train"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "pytorch_config.yaml").write_text(yaml.safe_dump(content))
        save_snapshot(folder / "snapshot-060.pt", small.snapshot_of(trained))
        return folder / "snapshot-060.pt"

    return write


def test_an_own_backbone_and_head_are_trained_exported_and_run(
    tmp_path, snapshot_of, own_models, capsys
):
    content = configuration()
    snapshot = snapshot_of(content)
    folder = tmp_path / "bundle"
    words = [str(snapshot), "-o", str(folder), "--register", str(own_models), "--json"]
    assert main(["export", *words]) == 0
    assert json.loads(capsys.readouterr().out)["net_type"] == "max_pool"
    frames, points = drawn(4, seed=2)
    with load(folder) as estimator:
        poses = estimator(frames)
    assert np.linalg.norm(poses.xy[:, 0] - points, axis=-1).max() < REACHED_PX
    runner, _ = get_inference_runners(content, snapshot, num_bodyparts=3, device="cpu")
    for frame, result in zip(range(4), runner.inference(frames), strict=True):
        # float32 rounding of coordinates below 100 px
        np.testing.assert_allclose(result["bodyparts"][0, :, :2], poses.xy[frame, 0], atol=1e-3)


def test_an_own_predictor_is_exported_with_its_decode(tmp_path, snapshot_of):
    snapshot = snapshot_of(configuration({"type": "Gravity"}))
    export(snapshot, output=tmp_path / "bundle")
    frames, points = drawn(4, seed=2)
    with load(tmp_path / "bundle") as estimator:
        poses = estimator(frames)
    assert np.linalg.norm(poses.xy[:, 0] - points, axis=-1).max() < REACHED_PX


def test_an_own_predictor_says_how_many_animals_it_finds(tmp_path, snapshot_of):
    content = configuration({"type": "GravityOfTwo"}, individuals=2)
    snapshot = snapshot_of(content)
    export(snapshot, output=tmp_path / "bundle")
    assert Bundle.open(tmp_path / "bundle").manifest.max_individuals == 2
    with load(tmp_path / "bundle") as estimator:
        poses = estimator(drawn(1, seed=2)[0])
    assert poses.xy.shape == (1, 2, 3, 2) and np.isfinite(poses.xy).all()


def test_a_predictor_that_finds_others_than_it_says_is_refused(tmp_path, snapshot_of):
    snapshot = snapshot_of(configuration({"type": "Gravity", "animals": 3}))
    with pytest.raises(ConfigError, match=r"expected 1 poses of an image, .* got 3"):
        export(snapshot, output=tmp_path / "bundle")
    content = configuration({"type": "Gravity", "animals": 2}, individuals=2)
    snapshot = snapshot_of(content, "other")
    with pytest.raises(ConfigError, match=r"finds 1 individual, .*num_animals"):
        export(snapshot, output=tmp_path / "bundle")


def test_a_predictor_without_decode_is_told_at_once():
    with pytest.raises(TypeError, match="Nothing: a predictor defines decode"):
        type("Nothing", (BasePredictor,), {})


def test_classes_that_nobody_registered_are_named(tmp_path, snapshot_of):
    content = configuration()
    snapshot = snapshot_of(content)
    content["model"]["backbone"]["type"] = "MinPool"
    (snapshot.parent / "pytorch_config.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=r"got 'MinPool'\. .*register your class first"):
        export(snapshot, output=tmp_path / "bundle")

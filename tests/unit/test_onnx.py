from __future__ import annotations

import logging
import math
import warnings

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from dlc_deploy.exporters.onnx import (  # noqa: E402
    InputSize,
    OnnxExportError,
    _check,
    write_onnx,
)
from dlc_deploy.preprocessing import Normalization  # noqa: E402
from dlc_deploy.runtime.engines import open_engine  # noqa: E402
from dlc_deploy.training.inference.graphs import PoseGraph  # noqa: E402
from tests import small  # noqa: E402

pytestmark = pytest.mark.torch
FREE = InputSize((48, 64), fixed=False)


def pose_graph():
    return PoseGraph(small.model(), Normalization()).eval()


def drawn(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def free(tmp_path_factory):
    """A pose graph of free sizes: as it is in PyTorch, its file, and an engine on it."""
    path = tmp_path_factory.mktemp("free") / "pose.onnx"
    write_onnx(pose_graph(), path, size=FREE, outputs=("poses",))
    engine = open_engine(path)
    yield pose_graph(), path, engine
    engine.close()


@pytest.mark.parametrize("size", [(48, 64), (96, 33), (101, 150), (200, 320)])
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_batch_height_and_width_are_really_free(free, batch, size):
    graph, _, engine = free
    images = drawn(batch, *size)
    with torch.inference_mode():
        expected = graph(torch.from_numpy(images))[0].numpy()
    assert expected.shape == (batch, 1, 3, 3) and expected[..., :2].std() > 1
    poses = engine.run({"images": images})["poses"]
    # the contract of an fp32 engine
    np.testing.assert_allclose(poses[..., :2], expected[..., :2], rtol=0, atol=0.01)
    np.testing.assert_allclose(poses[..., 2], expected[..., 2], atol=1e-3)


def test_each_frame_of_a_batch_is_judged_alone(free):
    _, _, engine = free
    images = drawn(4, 48, 64)
    together = engine.run({"images": images})["poses"]
    alone = [engine.run({"images": image[None]})["poses"][0] for image in images]
    # float32 rounding of coordinates below 100 px, in another order of summation
    np.testing.assert_allclose(together, alone, atol=1e-3)


def test_the_file_holds_standard_operators_only_and_names_its_ends(free):
    _, path, _ = free
    model = onnx.load(path)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert not model.functions
    assert [i.name for i in model.graph.input] == ["images"]
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [o.name for o in model.graph.output] == ["poses"]
    assert {p.name for p in path.parent.iterdir()} == {"pose.onnx"}


def test_a_fixed_size_takes_any_batch_and_no_other_size(tmp_path):
    path = tmp_path / "pose.onnx"
    write_onnx(pose_graph(), path, size=InputSize((48, 64), fixed=True), outputs=("poses",))
    engine = open_engine(path)
    assert engine.run({"images": drawn(5, 48, 64)})["poses"].shape == (5, 1, 3, 3)
    with pytest.raises(ValueError, match="'images': expected uint8"):
        engine.run({"images": drawn(5, 48, 65)})
    engine.close()


def test_free_sizes_may_be_multiples_of_a_divisor(tmp_path):
    class Halves(nn.Module):
        """Joins two branches, which fit where the sides are multiples of 4 only."""

        def __init__(self):
            super().__init__()
            self.down = nn.Conv2d(3, 3, 2, stride=4)
            self.up = nn.Upsample(scale_factor=4)

        def forward(self, images):
            x = images.permute(0, 3, 1, 2).float()
            return (x + self.up(self.down(x))).mean((2, 3))

    graph, path = Halves().eval(), tmp_path / "graph.onnx"
    write_onnx(graph, path, size=InputSize((64, 96), fixed=False, multiple=4), outputs=("out",))
    engine = open_engine(path)
    images = drawn(2, 32, 44)
    with torch.inference_mode():
        expected = graph(torch.from_numpy(images))
    # float32 rounding of numbers about 100
    np.testing.assert_allclose(engine.run({"images": images})["out"], expected, atol=1e-3)
    engine.close()


class Branching(nn.Module):
    """Its way depends on the data."""

    def forward(self, images):
        if images.float().mean() > 3:
            return images.float()
        return -images.float()


class Foreign(nn.Module):
    """Leaves PyTorch."""

    def forward(self, images):
        return torch.from_numpy(np.sort(images.numpy())).float()


@pytest.mark.parametrize("module", [Branching, Foreign])
def test_a_module_that_cannot_be_exported_ends_in_one_clear_sentence(tmp_path, module):
    with pytest.raises(OnnxExportError) as error:
        write_onnx(module(), tmp_path / "x.onnx", size=FREE, outputs=("out",))
    message = str(error.value)
    assert message.startswith("The model cannot be exported to ONNX: ")
    assert "must compute with tensors only" in message
    assert len(message) < 500 and "\n" not in message and "\x1b" not in message
    assert error.value.__cause__ is not None
    assert not (tmp_path / "x.onnx").exists()


class Rounding(nn.Module):
    """Has a way for free sizes, which fails, and one for numbers of Python."""

    def forward(self, images):
        height = images.shape[1]
        if isinstance(height, int):
            return images.float() * math.floor(800 / height * height)
        raise NotImplementedError("free sizes")


def test_free_sizes_never_take_the_way_of_fixed_ones(tmp_path):
    with pytest.raises(OnnxExportError, match="NotImplementedError: free sizes"):
        write_onnx(Rounding(), tmp_path / "x.onnx", size=FREE, outputs=("out",))
    size = InputSize((48, 64), fixed=True)
    write_onnx(Rounding(), tmp_path / "x.onnx", size=size, outputs=("out",))


def test_exporting_leaves_warnings_and_loggers_as_they_were(tmp_path):
    logger = logging.getLogger("torch.onnx")
    level, filters = logger.level, list(warnings.filters)
    with pytest.raises(OnnxExportError):
        write_onnx(Branching(), tmp_path / "x.onnx", size=FREE, outputs=("out",))
    assert logger.level == level and warnings.filters == filters


def test_a_file_with_other_outputs_is_refused(free):
    _, path, _ = free
    with pytest.raises(OnnxExportError, match=r"outputs \['boxes'\], .* has \['poses'\]"):
        _check(path, FREE, ("boxes",))


def test_a_file_whose_batch_is_fixed_is_refused(free, tmp_path):
    model = onnx.load(free[1])
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(OnnxExportError, match=r"axes \[0, 1, 2\] .* has \[1, 2\]"):
        _check(tmp_path / "x.onnx", FREE, ("poses",))


def test_a_file_with_foreign_operators_is_refused(free, tmp_path):
    model = onnx.load(free[1])
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    model.graph.node.append(
        onnx.helper.make_node("Secret", ["images"], ["unused"], domain="com.example")
    )
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(OnnxExportError, match=r"some of \['com\.example'\]"):
        _check(tmp_path / "x.onnx", FREE, ("poses",))

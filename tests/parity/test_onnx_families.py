"""Exported graphs in ONNX Runtime against the PyTorch graph, and against DeepLabCut's own numbers
from the uint8 images on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import families
from tests.reference import needs_reference

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from dlc_deploy.config import PoseConfig  # noqa: E402
from dlc_deploy.exporters.export import draft_manifest  # noqa: E402
from dlc_deploy.exporters.onnx import InputSize, write_onnx  # noqa: E402
from dlc_deploy.exporters.parity import MAX_AFFINITY_ERROR, compare  # noqa: E402
from dlc_deploy.exporters.plan import Plan, plan_graphs  # noqa: E402
from dlc_deploy.exporters.reference import Call, Recorder  # noqa: E402
from dlc_deploy.exporters.rewrites import rewrite_operators  # noqa: E402
from dlc_deploy.exporters.source import Source  # noqa: E402
from dlc_deploy.exporters.tensorrt_rtx import compile_engine  # noqa: E402
from dlc_deploy.poses import Boxes, Poses  # noqa: E402
from dlc_deploy.runtime.assembly import assign_identities  # noqa: E402
from dlc_deploy.runtime.engines import open_engine  # noqa: E402
from dlc_deploy.runtime.pipelines import connect, run_steps  # noqa: E402
from dlc_deploy.training.inference.graphs import PoseGraph  # noqa: E402
from dlc_deploy.training.inference.torch_engine import TorchEngine  # noqa: E402
from dlc_deploy.training.models import PoseModel  # noqa: E402

pytestmark = [needs_reference, pytest.mark.torch, pytest.mark.slow]
MIN_SCORE = 0.05
# The contract of an fp32 engine.
TOLERANCE_PX = 0.01
# A pose of these random networks hangs on offsets of cells of 4 px, which amplify rounding: PyTorch
# itself is up to 0.0104 px from float64. 2e-3 of their standard deviation of 3 cells is allowed.
TOLERANCE_PX_OF_OFFSETS = 2e-3 * 3 * 4
# TensorRT-RTX takes or refuses operators, which come from modules; these have every kind of module.
# (python -m dlc_deploy.benchmarks.model_table compiles every model of every name.)
COMPILED = (
    "resnet_50_paf_unique",
    "hrnet_w18",
    "cspnext_s_paf",
    "dlcrnet_stride32_ms5",
    "dekr_w18_identity",
    "rtmpose_s",
    "animaltokenpose_base",
    "ctd_coam_w32",
    "ctd_prenet_rtmpose_s",
)
# This random network puts all keypoints on one cell; its raw outputs tell more.
ONE_PLACE = {"animaltokenpose_base"}


class WithOutputs(PoseGraph):
    """A pose graph that also gives what it decodes."""

    def __init__(self, model, normalization, raw):
        super().__init__(model, normalization)
        self.decoded, self.outputs = self.outputs, (*self.outputs, *raw)

    def forward(self, images, conditions=None):
        outputs = self.run_network(images, conditions)
        raw = {f"{head}_{key}": value for head in outputs for key, value in outputs[head].items()}
        values = self.decode(outputs)
        return tuple(values[n] if n in self.decoded else raw[n] for n in self.outputs)


@dataclass
class Family:
    """A family with its graph in PyTorch, as it was before the rewrites, and in ONNX Runtime.

    Attributes:
        raw: names of the raw outputs: head and output.
        path: the exported file.
    """

    name: str
    source: Source
    plan: Plan
    images: dict[str, Any]
    expected: dict[str, Any]
    graph: PoseGraph
    raw: tuple[str, ...]
    engine: Any
    path: Path

    @property
    def tolerance_px(self):
        return TOLERANCE_PX_OF_OFFSETS if self.name.startswith("dekr") else TOLERANCE_PX

    @property
    def frames(self):
        return self.images["images"]

    def pipeline(self, engine):
        """Frames to poses, for the animals that the reference was told of."""
        engines = {"pose": engine, "detector": None}
        return connect(draft_manifest(self.source, self.plan), engines, self.plan.individuals)

    @cached_property
    def pytorch(self):
        """The PyTorch graph as an engine, with what it was given and gave for the frames."""
        recorder = Recorder(TorchEngine(self.graph))
        return recorder, self._poses(recorder)

    @cached_property
    def onnxruntime(self):
        """Poses of the frames by ONNX Runtime."""
        return self._poses(self.engine)

    def poses(self, engine):
        """Poses of the reference's frames, in the boxes or from the conditions it was given."""
        return self.pytorch[1] if engine == "PyTorch" else self.onnxruntime

    def _poses(self, engine):
        pipeline = self.pipeline(engine)
        if self.name in families.TOP_DOWN:
            return pipeline.poses_in_boxes(self.frames, self.boxes())
        if self.name in families.CONDITIONAL:
            return pipeline.refine(self.frames, self.conditions())
        return run_steps(pipeline, self.frames)

    def inputs(self):
        """What the pose graph sees: frames, or crops of all animals."""
        return joined([call.inputs for call in self.pytorch[0].calls])

    @cached_property
    def outputs(self):
        """What ONNX Runtime makes of it."""
        return self.engine.run(self.inputs())

    def boxes(self):
        """The boxes DeepLabCut was given, padded with NaN to the same number in each frame."""
        most = self.plan.individuals
        xywh = np.full((2, most, 4), np.nan, np.float32)
        score = np.full((2, most), np.nan, np.float32)
        for frame in range(2):
            given = self.images[f"bboxes_{frame}"]
            xywh[frame, : len(given)] = given
            score[frame, : len(given)] = self.images[f"bbox_scores_{frame}"]
        return Boxes(xywh, score)

    def conditions(self):
        """The poses DeepLabCut was given, padded with NaN."""
        keypoints = len(self.source.config.metadata.bodyparts)
        given = np.full((2, self.plan.individuals, keypoints, 3), np.nan, np.float32)
        for frame in range(2):
            poses = self.images[f"cond_kpts_{frame}"]
            given[frame, : len(poses)] = poses
        return Poses(given[..., :2], given[..., 2])


def joined(parts):
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def model_of(name, config):
    model = PoseModel.build(config.model.model_dump(), pretrained_backbone=False)
    state = {key: torch.from_numpy(value) for key, value in families.weights(name).items()}
    model.load_state_dict(model.state_dict() | state)
    return model.eval()


def arrays(path):
    with np.load(path) as file:
        return dict(file)


@pytest.fixture(params=families.POSE_MODELS, scope="module")
def family(request, tmp_path_factory):
    name = request.param
    folder = families.folder(name)
    config = PoseConfig.from_yaml(folder / "pytorch_config.yaml")
    images, expected = arrays(folder / "input.npz"), arrays(folder / "output.npz")
    source = Source(Path("snapshot-010.pt"), config, "", model_of(name, config))
    animals = max([len(images[key]) for key in images if key.startswith("bboxes_")], default=None)
    plan = plan_graphs(source, None, animals, "fp32")
    raw = tuple("_".join(key.split("/")[1:]) for key in expected if key.startswith("raw/"))
    exported = WithOutputs(model_of(name, config), plan.pose.normalization, raw).eval()
    rewrite_operators(exported)
    path = tmp_path_factory.mktemp(name) / "pose.onnx"
    keypoints = len(config.metadata.bodyparts) if plan.pose.condition else None
    size = plan.sizes["pose"]
    if not size.fixed:
        size = InputSize((128, 192), fixed=False, multiple=size.multiple)
    write_onnx(exported, path, size=size, outputs=exported.outputs, conditions=keypoints)
    graph = PoseGraph(source.model, plan.pose.normalization).eval()
    engine = open_engine(path)
    yield Family(name, source, plan, images, expected, graph, raw, engine, path)
    engine.close()


def distances(found, expected):
    """Pixels between poses [..., 3] where the expected score is 0.05 or more.

    Everywhere, where none is: an animal that is refined has score 0 if the random network is not
    sure of any keypoint.
    """
    sure = expected[..., 2] >= MIN_SCORE
    if not sure.any():
        sure = np.isfinite(expected[..., 2])
    assert sure.sum() >= 4 and expected[sure][:, :2].std() > 10
    return np.linalg.norm(found[..., :2] - expected[..., :2], axis=-1)[sure]


def agreement(family, calls):
    """Parity of the engine with calls of the PyTorch graph, as an export judges it."""
    return compare(calls, family.engine, family.plan.pose.grouping)


def test_raw_outputs_are_deeplabcuts(family):
    assert family.raw
    for name in family.raw:
        head, _, output = name.rpartition("_")
        expected = family.expected[f"raw/{head}/{output}"]
        assert family.outputs[name].shape == expected.shape and expected.std() > 1e-4
        # random networks amplify rounding: DeepLabCut against itself needs a third of this
        tolerance = 2e-3 * float(expected.std())
        np.testing.assert_allclose(family.outputs[name], expected, rtol=0, atol=tolerance)


def test_poses_are_those_of_the_pytorch_graph(family):
    parity = agreement(family, family.pytorch[0].calls)
    assert parity.points >= 4 and parity.sure
    assert parity.spread > 10 or family.name in ONE_PLACE
    assert parity.px_max <= family.tolerance_px
    assert parity.score_max <= 1e-3 and (parity.affinity_max or 0) <= MAX_AFFINITY_ERROR


@pytest.mark.parametrize("size", [(160, 224), (149, 201)])
def test_a_graph_with_free_sizes_agrees_with_pytorch_at_each(family, size):
    if family.plan.pose.crop is not None:
        pytest.skip("crops have one size")
    multiple = family.plan.sizes["pose"].multiple
    if size[0] % multiple or size[1] % multiple:
        pytest.skip(f"frames are padded to multiples of {multiple} before the graph")
    images = np.ascontiguousarray(family.frames[:, : size[0], : size[1]])
    outputs = TorchEngine(family.graph).run({"images": images})
    parity = agreement(family, [Call({"images": images}, outputs)])
    assert parity.points >= 4 and parity.px_max <= family.tolerance_px
    assert parity.score_max <= 1e-3 and (parity.affinity_max or 0) <= MAX_AFFINITY_ERROR


@pytest.mark.parametrize("engine", ["PyTorch", "ONNX Runtime"])
def test_images_become_deeplabcuts_poses(family, engine):
    poses = family.poses(engine)
    found = np.concatenate([poses.xy, poses.score[..., None]], -1)
    wanted = np.stack([final_poses(family, frame, found.shape[1]) for frame in range(2)])
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    assert distances(found, wanted).max() <= family.tolerance_px
    np.testing.assert_allclose(found[..., 2], wanted[..., 2], atol=1e-3)


def final_poses(family, frame, animals):
    """DeepLabCut's poses [animals, K, 3] of a frame as they enter its files: named, where the
    model tells individuals apart, and NaN instead of -1 for absent animals."""
    poses = family.expected[f"final_{frame}/bodyparts"][..., :3].copy()
    absent = (poses[..., 2] < 0).all(axis=1)
    poses[absent] = np.nan
    assert absent[animals:].all()
    if family.plan.pose.identity:
        identity = family.expected[f"final_{frame}/identity_scores"]
        poses = poses[in_order_of_names(poses[..., 2], identity)]
    more = np.full((max(0, animals - len(poses)), *poses.shape[1:]), np.nan, np.float32)
    return np.concatenate([poses, more])[:animals]


@pytest.mark.parametrize("engine", ["PyTorch", "ONNX Runtime"])
def test_images_become_deeplabcuts_unique_bodyparts_and_identities(family, engine):
    poses = family.poses(engine)
    unique, identity = "unique" in family.graph.outputs, "identity" in family.graph.outputs
    assert (poses.unique is not None, poses.identity is not None) == (unique, identity)
    if unique:
        found = np.concatenate([poses.unique.xy, poses.unique.score[..., None]], -1)
        wanted = np.stack([family.expected[f"final_{i}/unique_bodyparts"] for i in range(2)])
        assert distances(found, wanted).max() <= TOLERANCE_PX
        np.testing.assert_allclose(found[..., 2], wanted[..., 2], atol=1e-3)
    if identity:
        there = poses.score >= MIN_SCORE
        assert there.sum() >= 4
        wanted = np.stack([final_identities(family, frame) for frame in range(2)])
        np.testing.assert_allclose(poses.identity[there], wanted[there], atol=1e-3)


def final_identities(family, frame):
    """DeepLabCut's identity scores [animals, K, names] of a frame, in the order of final_poses."""
    score = family.expected[f"final_{frame}/bodyparts"][..., 2]
    identity = family.expected[f"final_{frame}/identity_scores"]
    return identity[in_order_of_names(score, identity)]


def in_order_of_names(score, identity):
    """Rows of a frame by name; absent animals (score -1) have no say."""
    score = np.where((score < 0).all(axis=1, keepdims=True), np.nan, score)
    return assign_identities(score[None], identity[None])[0]


def test_tensorrt_rtx_compiles_the_graph_without_a_gpu(family):
    pytest.importorskip("tensorrt_rtx")
    if family.name not in COMPILED:
        pytest.skip("its modules are compiled in another family")
    sizes = None if family.plan.pose.crop else ((64, 64), (128, 192), (256, 320))
    engine = compile_engine(family.path, batch=(1, 2, 4), sizes=sizes)
    # The weights are inside.
    assert len(engine) > 3 * sum(value.numel() for value in family.graph.model.parameters())


def test_no_family_has_a_kind_of_module_that_is_not_compiled():
    compiled = set().union(*map(kinds_of_modules, COMPILED))
    missing = {name: kinds_of_modules(name) - compiled for name in families.POSE_MODELS}
    assert len(compiled) > 50 and {name: kinds for name, kinds in missing.items() if kinds} == {}


def kinds_of_modules(name):
    """Classes of the modules that are exported; no weight is drawn."""
    config = PoseConfig.from_yaml(families.folder(name) / "pytorch_config.yaml")
    with torch.device("meta"):
        model = PoseModel.build(config.model.model_dump(), pretrained_backbone=False)
        rewrite_operators(model)
    return {f"{type(part).__module__}.{type(part).__qualname__}" for part in model.modules()}

"""Exported graphs in ONNX Runtime against the PyTorch graph, and against DeepLabCut's own numbers
from the uint8 images on."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests import families
from tests.reference import needs_reference

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from dlc_deploy.config import PoseConfig  # noqa: E402
from dlc_deploy.exporters.graph import BODYPARTS, DetectorGraph, PoseGraph  # noqa: E402
from dlc_deploy.exporters.onnx import InputSize, write_onnx  # noqa: E402
from dlc_deploy.exporters.rewrites import rewrite_operators  # noqa: E402
from dlc_deploy.manifest import DetectorGraph as DetectorEntry  # noqa: E402
from dlc_deploy.manifest import Manifest, Origin  # noqa: E402
from dlc_deploy.manifest import PoseGraph as PoseEntry  # noqa: E402
from dlc_deploy.poses import Boxes  # noqa: E402
from dlc_deploy.runtime.engines import open_engine  # noqa: E402
from dlc_deploy.runtime.pipelines import BottomUp, TopDown, run_steps  # noqa: E402
from dlc_deploy.training.models import PoseModel  # noqa: E402
from dlc_deploy.training.models.backbones import BACKBONES  # noqa: E402
from dlc_deploy.training.models.detectors import DETECTORS  # noqa: E402
from dlc_deploy.training.models.heads import HEADS  # noqa: E402
from dlc_deploy.training.models.predictors import PREDICTORS  # noqa: E402

pytestmark = [needs_reference, pytest.mark.torch, pytest.mark.slow]
# The same blocks as one of families.POSE_MODELS, only larger or in another project.
ALIKE = {"hrnet_w32": "hrnet_w18", "rtmpose_s_multi": "rtmpose_s"}
DETECTOR = "ssdlite"
DETECTIONS = 3
MIN_SCORE = 0.05
# The contract of an fp32 engine.
TOLERANCE_PX = 0.01
# This random detector turns rounding into 0.02 of a standard deviation in DeepLabCut too (see its
# raw outputs below); of boxes 100 px wide that is some hundredths of a pixel.
TOLERANCE_PX_OF_BOXES = 0.1


class WithOutputs(PoseGraph):
    """A pose graph that also gives what it decodes."""

    def forward(self, images):
        outputs = self.model(self.normalize(images))[BODYPARTS]
        predictor = self.model.heads[BODYPARTS].predictor
        poses = predictor.decode(self.model.get_stride(BODYPARTS), outputs)["poses"]
        return (poses, *outputs.values())


class DetectorWithOutputs(DetectorGraph):
    """A detector graph that also gives what it decodes."""

    def forward(self, images):
        resized = self.model._resized(self.normalize(images))
        outputs = self.model.model.head(list(self.model.model.backbone(resized).values()))
        return (*super().forward(images), outputs["bbox_regression"], outputs["cls_logits"])


@dataclass
class Family:
    """A family with its graph in PyTorch, as it was before the rewrites, and in ONNX Runtime."""

    name: str
    config: PoseConfig
    images: dict[str, Any]
    expected: dict[str, Any]
    graph: PoseGraph
    raw: tuple[str, ...]
    engine: Any

    @property
    def top_down(self):
        return self.config.method == "td"

    @property
    def stacked(self):
        """What the pose network is to see, as uint8: frames, or crops of all boxes."""
        if not self.top_down:
            return self.images["images"]
        return self.pipeline().crop(self.detected()).crops

    def pipeline(self):
        inference = self.config.data.inference
        graph = dict(precision="fp32", size=None, normalization=inference.normalization())
        if not self.top_down:
            manifest = self.manifest(PoseEntry(file="p", frame=inference.frame(), **graph))
            return BottomUp(manifest, self.engine)
        pose = PoseEntry(file="p", crop=inference.top_down_crop.preprocessing(), **graph)
        seen = self.config.detector.data.inference
        detector = DetectorEntry(file="d", frame=seen.frame(), **graph)
        most = max(len(self.images[f"bboxes_{i}"]) for i in range(2))
        return TopDown(self.manifest(pose, detector=detector), None, self.engine, most)

    def manifest(self, pose, detector=None):
        return Manifest(
            method=self.config.method,
            net_type=self.config.net_type,
            scorer="",
            bodyparts=tuple(self.config.metadata.bodyparts),
            individuals=tuple(self.config.metadata.individuals),
            max_individuals=1,
            pose=pose,
            detector=detector,
            origin=Origin(snapshot=""),
            tools={},
            created="",
            files={},
        )

    def boxes(self):
        """The boxes DeepLabCut was given, padded with NaN to the same number in each frame."""
        xywh = np.full((2, 2, 4), np.nan, np.float32)
        score = np.full((2, 2), np.nan, np.float32)
        for frame in range(2):
            given = self.images[f"bboxes_{frame}"]
            xywh[frame, : len(given)] = given
            score[frame, : len(given)] = self.images[f"bbox_scores_{frame}"]
        return Boxes(xywh, score)

    def detected(self):
        from dlc_deploy.runtime.pipelines.top_down import Detected

        return Detected(self.images["images"], self.boxes())


def state_of(name):
    return {key: torch.from_numpy(value) for key, value in families.weights(name).items()}


@pytest.fixture(params=families.POSE_MODELS, scope="module")
def family(request, tmp_path_factory):
    name = request.param
    folder = families.folder(name)
    config = PoseConfig.from_yaml(folder / "pytorch_config.yaml")
    graphs = []
    for kind in (PoseGraph, WithOutputs):
        model = PoseModel.build(config.model.model_dump(), pretrained_backbone=False)
        model.load_state_dict(model.state_dict() | state_of(name))
        graphs.append(kind(model, config.data.inference.normalization()).eval())
    graph, exported = graphs
    rewrite_operators(exported)
    expected = dict(np.load(folder / "output.npz"))
    raw = tuple(key.split("/")[2] for key in expected if key.startswith(f"raw/{BODYPARTS}/"))
    path = tmp_path_factory.mktemp(name) / "pose.onnx"
    fixed = config.method == "td"
    multiple = 32 if config.data.inference.frame().padding else 1
    size = InputSize((256, 256) if fixed else (128, 192), fixed, 1 if fixed else multiple)
    write_onnx(exported, path, size=size, outputs=("poses", *raw))
    engine = open_engine(path)
    yield Family(name, config, dict(np.load(folder / "input.npz")), expected, graph, raw, engine)
    engine.close()


def distances(found, expected):
    """Pixels between poses [..., 3] where the expected score is 0.05 or more."""
    sure = expected[..., 2] >= MIN_SCORE
    assert sure.sum() >= 4 and expected[sure][:, :2].std(axis=0).max() > 10
    return np.linalg.norm(found[..., :2] - expected[..., :2], axis=-1)[sure]


def poses_of(graph, images):
    with torch.inference_mode():
        return graph(torch.from_numpy(images))[0].numpy()


def test_every_family_that_can_be_built_is_compared_here():
    buildable = set()
    for folder in (families.REFERENCE / "families").iterdir():
        try:
            config = PoseConfig.from_yaml(folder / "pytorch_config.yaml")
        except Exception:
            continue
        heads = config.model.heads.values()
        blocks = [config.model.backbone["type"] in BACKBONES]
        blocks += [head["type"] in HEADS for head in heads]
        blocks += [head["predictor"]["type"] in PREDICTORS for head in heads]
        detectors = config.detector is None or config.detector.model["type"] in DETECTORS
        if all(blocks) and detectors:
            buildable.add(folder.name)
    assert buildable == {*families.POSE_MODELS, *ALIKE, DETECTOR}


def test_the_exported_outputs_are_those_of_the_pose_graph(family):
    inference = family.config.data.inference
    graph = WithOutputs(family.graph.model, inference.normalization()).eval()
    with torch.inference_mode():
        poses, *_ = graph(torch.from_numpy(family.stacked))
    np.testing.assert_array_equal(poses.numpy(), poses_of(family.graph, family.stacked))


def test_raw_outputs_are_deeplabcuts(family):
    outputs = family.engine.run({"images": family.stacked})
    assert family.raw
    for name in family.raw:
        expected = family.expected[f"raw/{BODYPARTS}/{name}"]
        assert outputs[name].shape == expected.shape and expected.std() > 1e-4
        # random networks amplify rounding: DeepLabCut against itself needs a third of this
        tolerance = 2e-3 * float(expected.std())
        np.testing.assert_allclose(outputs[name], expected, rtol=0, atol=tolerance)


def test_poses_are_those_of_the_pytorch_graph(family):
    expected = poses_of(family.graph, family.stacked)
    found = family.engine.run({"images": family.stacked})["poses"]
    distance = distances(found, expected)
    assert distance.max() <= TOLERANCE_PX
    np.testing.assert_allclose(found[..., 2], expected[..., 2], atol=1e-3)


@pytest.mark.parametrize("size", [(160, 224), (192, 160), (149, 201)])
def test_a_graph_with_free_sizes_agrees_with_pytorch_at_each(family, size):
    if family.top_down:
        pytest.skip("crops have one size")
    if family.config.data.inference.frame().padding and (size[0] % 32 or size[1] % 32):
        pytest.skip("frames are padded to multiples of 32 before the graph")
    images = np.ascontiguousarray(family.stacked[:, : size[0], : size[1]])
    expected = poses_of(family.graph, images)
    found = family.engine.run({"images": images})["poses"]
    distance = distances(found, expected)
    assert distance.max() <= TOLERANCE_PX


def test_images_become_deeplabcuts_poses(family):
    if family.top_down:
        poses = family.pipeline().poses_in_boxes(family.images["images"], family.boxes())
    else:
        poses = run_steps(family.pipeline(), family.images["images"])
    found = np.concatenate([poses.xy, poses.score[..., None]], -1)
    pairs = []
    for frame in range(2):
        expected = family.expected[f"final_{frame}/bodyparts"]
        animals = len(family.images[f"bboxes_{frame}"]) if family.top_down else 1
        pairs.append((found[frame, :animals], expected[:animals]))
        assert np.isnan(found[frame, animals:]).all()
    found, expected = (np.concatenate(part) for part in zip(*pairs, strict=True))
    distance = distances(found, expected)
    assert distance.max() <= TOLERANCE_PX
    np.testing.assert_allclose(found[..., 2], expected[..., 2], atol=1e-3)


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    folder = families.folder(DETECTOR)
    config = PoseConfig.from_yaml(folder / "pytorch_config.yaml")
    model = DETECTORS.build(config.detector.model, pretrained=False)
    model.load_state_dict(state_of(DETECTOR))
    normalization = config.detector.data.inference.normalization()
    graph = DetectorGraph(model, normalization, DETECTIONS).eval()
    exported = DetectorWithOutputs(model, normalization, DETECTIONS)
    path = tmp_path_factory.mktemp(DETECTOR) / "detector.onnx"
    outputs = ("boxes", "scores", "bbox_regression", "cls_logits")
    write_onnx(exported, path, size=InputSize((240, 320), fixed=False), outputs=outputs)
    engine = open_engine(path)
    yield graph, engine, config
    engine.close()


@pytest.fixture(scope="module")
def detections():
    folder = families.folder(DETECTOR)
    return np.load(folder / "input.npz")["images"], dict(np.load(folder / "output.npz"))


def test_the_detectors_raw_outputs_are_as_near_to_exact_ones_as_deeplabcuts(detector, detections):
    graph, engine, _ = detector
    images, expected = detections
    outputs = engine.run({"images": images})
    torchvision = copy.deepcopy(graph.model.model).double()
    with torch.inference_mode():
        resized = torch.from_numpy(expected["raw/detector/transformed"]).double()
        exact = torchvision.head(list(torchvision.backbone(resized).values()))
    for name in ("bbox_regression", "cls_logits"):
        value = exact[name].numpy()
        assert value.std() > 0.1
        # Three times: the order of summation is another, and the network amplifies it.
        rounding = np.abs(expected[f"raw/detector/{name}"] - value)
        assert np.abs(outputs[name] - value).max() <= 3 * rounding.max() < 0.1 * value.std()


@pytest.mark.parametrize("size", [(192, 256), (177, 203)])
def test_boxes_are_those_of_the_pytorch_graph(detector, detections, size):
    graph, engine, _ = detector
    images = np.ascontiguousarray(detections[0][:, : size[0], : size[1]])
    with torch.inference_mode():
        boxes, scores = (value.numpy() for value in graph(torch.from_numpy(images)))
    assert scores.min() >= MIN_SCORE and boxes.std() > 10
    found = engine.run({"images": images})
    np.testing.assert_allclose(found["boxes"], boxes, rtol=0, atol=TOLERANCE_PX_OF_BOXES)
    np.testing.assert_allclose(found["scores"], scores, atol=1e-3)


def test_images_become_deeplabcuts_boxes(detector, detections):
    _, engine, config = detector
    images, expected = detections
    inference = config.data.inference
    graph = dict(precision="fp32", size=None, normalization=inference.normalization())
    pose = PoseEntry(file="p", crop=inference.top_down_crop.preprocessing(), **graph)
    seen = config.detector.data.inference
    entry = DetectorEntry(file="d", frame=seen.frame(), **graph)
    manifest = Family(DETECTOR, config, {}, {}, graph, (), None).manifest(pose, entry)
    pipeline = TopDown(manifest, engine, None, DETECTIONS)
    boxes = pipeline.detect(pipeline.prepare(images)).boxes
    for frame in range(2):
        wanted = expected[f"final_{frame}/bboxes"]
        assert len(wanted) == DETECTIONS and wanted.std() > 10
        distance = np.abs(boxes.xywh[frame] - wanted).max()
        assert distance <= TOLERANCE_PX_OF_BOXES
        np.testing.assert_allclose(
            boxes.score[frame], expected[f"final_{frame}/bbox_scores"], atol=1e-4
        )

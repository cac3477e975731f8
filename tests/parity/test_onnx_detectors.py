"""Exported detectors in ONNX Runtime, from uint8 images to boxes, against DeepLabCut's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests import families
from tests.reference import needs_reference

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from dlc_deploy.config import PoseConfig  # noqa: E402
from dlc_deploy.exporters.onnx import InputSize, write_onnx  # noqa: E402
from dlc_deploy.manifest import DetectorGraph as DetectorEntry  # noqa: E402
from dlc_deploy.manifest import Manifest, Origin  # noqa: E402
from dlc_deploy.manifest import PoseGraph as PoseEntry  # noqa: E402
from dlc_deploy.runtime.engines import open_engine  # noqa: E402
from dlc_deploy.runtime.pipelines import TopDown  # noqa: E402
from dlc_deploy.training.inference.graphs import DetectorGraph  # noqa: E402
from dlc_deploy.training.models.detectors import DETECTORS  # noqa: E402

pytestmark = [needs_reference, pytest.mark.torch, pytest.mark.slow]
DETECTIONS = 3
# Random networks turn rounding into pixels, and the order of summation is another: three times what
# DeepLabCut's own boxes are off those of the same network in float64, 0.0053 px.
TOLERANCE_PX = 0.016
# SSDLite's turns it into 0.02 of a standard deviation of the raw outputs, in DeepLabCut too; of
# boxes 100 px wide that is some hundredths of a pixel.
TOLERANCE_PX_OF_SSDLITE = 0.1


@dataclass
class Detector:
    """A detector in PyTorch and in ONNX Runtime."""

    name: str
    config: PoseConfig
    graph: DetectorGraph
    engine: Any

    @property
    def tolerance_px(self):
        return TOLERANCE_PX_OF_SSDLITE if self.name == "ssdlite" else TOLERANCE_PX

    @property
    def frames(self):
        with np.load(families.folder(self.name) / "input.npz") as file:
            return file["images"]

    def pipeline(self):
        inference = self.config.data.inference
        seen = self.config.detector.data.inference
        graph = dict(precision="fp32", size=None)
        pose = PoseEntry(
            file="p",
            crop=inference.top_down_crop.preprocessing(),
            normalization=inference.normalization(),
            **graph,
        )
        detector = DetectorEntry(
            file="d", frame=seen.frame(), normalization=seen.normalization(), **graph
        )
        manifest = Manifest(
            method=self.config.method,
            net_type=self.config.net_type,
            scorer="",
            bodyparts=tuple(self.config.metadata.bodyparts),
            individuals=tuple(self.config.metadata.individuals),
            max_individuals=DETECTIONS,
            pose=pose,
            detector=detector,
            origin=Origin(snapshot=""),
            tools={},
            created="",
            files={},
        )
        return TopDown(manifest, self.engine, None, DETECTIONS)


@pytest.fixture(params=families.DETECTORS, scope="module")
def detector(request, tmp_path_factory):
    name = request.param
    config = PoseConfig.from_yaml(families.folder(name) / "pytorch_config.yaml")
    model = DETECTORS.build(config.detector.model, pretrained=False)
    weights = {key: torch.from_numpy(value) for key, value in families.weights(name).items()}
    model.load_state_dict(weights)
    normalization = config.detector.data.inference.normalization()
    graph = DetectorGraph(model, normalization, DETECTIONS).eval()
    path = tmp_path_factory.mktemp(name) / "detector.onnx"
    # Faster R-CNN's free sizes are compared with small images in test_faster_rcnn.py.
    size = InputSize((192, 256), fixed=name != "ssdlite")
    write_onnx(graph, path, size=size, outputs=graph.outputs)
    engine = open_engine(path)
    yield Detector(name, config, graph, engine)
    engine.close()


def test_images_become_deeplabcuts_boxes(detector):
    """Boxes of equal scores may change places: those of one image are 1.0 in float32 thrice."""
    pipeline = detector.pipeline()
    boxes = pipeline.detect(pipeline.prepare(detector.frames)).boxes
    with np.load(families.folder(detector.name) / "output.npz") as file:
        expected = dict(file)
    for frame in range(2):
        wanted = expected[f"final_{frame}/bboxes"]
        scores = expected[f"final_{frame}/bbox_scores"]
        assert wanted.shape == (DETECTIONS, 4) and wanted.std() > 10
        np.testing.assert_allclose(boxes.score[frame], scores, rtol=0, atol=1e-4)
        distance = np.abs(boxes.xywh[frame][:, None] - wanted).max(-1)
        like = distance.argmin(1)
        assert sorted(like) == list(range(DETECTIONS))
        assert distance.min(1).max() <= detector.tolerance_px
        # float32 rounding of scores close to 1
        np.testing.assert_allclose(scores[like], scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(192, 256), (177, 203)])
def test_a_graph_with_free_sizes_agrees_with_pytorch_at_each(detector, size):
    if detector.name != "ssdlite":
        pytest.skip("exported with one size")
    images = np.ascontiguousarray(detector.frames[:, : size[0], : size[1]])
    with torch.inference_mode():
        boxes, scores = (value.numpy() for value in detector.graph(torch.from_numpy(images)))
    assert scores.min() >= 0.05 and boxes.std() > 10
    found = detector.engine.run({"images": images})
    np.testing.assert_allclose(found["boxes"], boxes, rtol=0, atol=detector.tolerance_px)
    np.testing.assert_allclose(found["scores"], scores, rtol=0, atol=1e-3)

"""TensorRT-RTX compiles every family's graph, on a machine without a GPU.

What it takes or refuses are operators, and those come from the classes of modules. Here each class
of any family is compiled in one of them; ``python -m dlc_deploy.benchmarks.model_table`` compiles
every model of every name.
"""

from __future__ import annotations

import pytest

from tests import families
from tests.reference import needs_reference

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("tensorrt_rtx")

from dlc_deploy.config import PoseConfig  # noqa: E402
from dlc_deploy.exporters.graph import DetectorGraph, PoseGraph  # noqa: E402
from dlc_deploy.exporters.onnx import InputSize, write_onnx  # noqa: E402
from dlc_deploy.exporters.rewrites import rewrite_operators  # noqa: E402
from dlc_deploy.exporters.tensorrt_rtx import compile_engine  # noqa: E402
from dlc_deploy.training.models import PoseModel  # noqa: E402
from dlc_deploy.training.models.detectors import DETECTORS as BUILDERS  # noqa: E402

pytestmark = [needs_reference, pytest.mark.torch, pytest.mark.slow]
DETECTORS = ("ssdlite", "fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_resnet50_fpn_v2")
COMPILED = (
    "resnet_50_paf_unique",
    "dlcrnet_stride16_ms5",
    "dekr_w18_identity",
    "rtmpose_s",
    "animaltokenpose_base",
    "ctd_coam_w32",
    "ctd_prenet_rtmpose_s",
    "ssdlite",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_resnet50_fpn_v2",
)
"""Families that together have every class of module."""
ALIKE = (
    "resnet_50",
    "resnet_50_paf",
    "resnet_50_paf_identity",
    "resnet_101",
    "hrnet_w18",
    "hrnet_w18_paf_identity_unique",
    "hrnet_w32",
    "cspnext_s",
    "cspnext_s_paf",
    "dlcrnet_stride16_ms5_identity",
    "dlcrnet_stride32_ms5",
    "dekr_w18",
    "dekr_w18_single",
    "dekr_w18_unique",
    "rtmpose_s_multi",
    "top_down_resnet_50",
    "top_down_hrnet_w18",
    "top_down_cspnext_s",
    "ctd_prenet_hrnet_w32",
)
"""Families of the same modules, in other numbers and combinations."""
MULTIPLE = 32
SMALL = ((64, 64), (128, 192), (256, 320))


def config_of(name):
    return PoseConfig.from_yaml(families.folder(name) / "pytorch_config.yaml")


def graph_of(name):
    config = config_of(name)
    if name in DETECTORS:
        detector = BUILDERS.build(dict(config.detector.model), pretrained=False)
        normalization = config.detector.data.inference.normalization()
        return DetectorGraph(detector, normalization, detections=3).eval()
    model = PoseModel.build(config.model.model_dump(), pretrained_backbone=False)
    return PoseGraph(model, config.data.inference.normalization()).eval()


def classes_of(name):
    """Classes of the modules that are exported; no weight is drawn."""
    with torch.device("meta"):
        graph = graph_of(name)
        rewrite_operators(graph)
    return {f"{type(module).__module__}.{type(module).__qualname__}" for module in graph.modules()}


def test_every_family_is_compiled_or_like_those_that_are():
    folders = {path.name for path in (families.REFERENCE / "families").iterdir()}
    assert len(folders) >= 29
    assert sorted([*COMPILED, *ALIKE]) == sorted(folders)


def test_no_family_has_a_class_of_module_that_is_not_compiled():
    compiled = set().union(*map(classes_of, COMPILED))
    missing = {name: classes_of(name) - compiled for name in ALIKE}
    assert {name: classes for name, classes in missing.items() if classes} == {}


@pytest.mark.parametrize("name", COMPILED)
def test_the_graph_is_compiled(name, tmp_path):
    graph, config, path = graph_of(name), config_of(name), tmp_path / "graph.onnx"
    rewrite_operators(graph)
    crop = None if name in DETECTORS else config.data.inference.top_down_crop
    size = InputSize((crop.height, crop.width) if crop else SMALL[1], bool(crop), MULTIPLE)
    conditions = len(config.metadata.bodyparts) if config.method == "ctd" else None
    write_onnx(graph, path, size=size, outputs=graph.outputs, conditions=conditions)
    engine = compile_engine(path, batch=(1, 2, 4), sizes=None if crop else SMALL)
    # The weights are inside.
    weights = sum(parameter.numel() for parameter in graph.model.parameters())
    assert len(engine) > 3 * weights

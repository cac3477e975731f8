from __future__ import annotations

import sys

import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper  # noqa: E402

from dlc_deploy.errors import InputError, UnavailableError, UsageError  # noqa: E402
from dlc_deploy.exporters.tensorrt_rtx import (  # noqa: E402
    DEFAULT_SIZES,
    EngineCompileError,
    _shapes,
    compile_engine,
)

pytestmark = pytest.mark.torch  # What writes ONNX comes with the export extra.
FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8
FREE, MULTIPLES = ("height", "width"), ("32*height_cells", "32*width_cells")
SIZES = ((32, 32), (64, 96), (128, 128))


def write(path, nodes, inputs, outputs, constants=()):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(name, *kind) for name, kind in outputs.items()],
        [helper.make_tensor(*constant) for constant in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def images(path, size=FREE):
    """A graph of one cast and one product."""
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=FLOAT),
        helper.make_node("Mul", ["pixels", "factor"], ["out"], name="scale"),
    ]
    return write(
        path,
        nodes,
        {"images": (UINT8, ("batch", *size, 3))},
        {"out": (FLOAT, ("batch", *size, 3))},
        [("factor", FLOAT, [], [2.0])],
    )


@pytest.fixture
def trt():
    return pytest.importorskip("tensorrt_rtx")


@pytest.mark.parametrize("size", [FREE, MULTIPLES, (64, 96)])
def test_a_graph_becomes_an_engine_without_a_gpu(trt, tmp_path, size):
    sizes = SIZES if isinstance(size[0], str) else None
    engine = compile_engine(images(tmp_path / "x.onnx", size), sizes=sizes)
    assert isinstance(engine, bytes) and len(engine) > 1000


def test_one_engine_is_for_all_capabilities_that_are_asked_for(trt, tmp_path):
    path = images(tmp_path / "x.onnx")
    several = compile_engine(path, compute_capabilities=("sm80", "sm89", "sm120"))
    assert several and several != compile_engine(path, compute_capabilities=("sm89",))


def test_a_second_input_has_the_same_batch(trt, tmp_path):
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
        helper.make_node("Add", ["means", "conditions"], ["out"]),
    ]
    path = write(
        tmp_path / "x.onnx",
        nodes,
        {"images": (UINT8, ("batch", 8, 8, 3)), "conditions": (FLOAT, ("batch", 3))},
        {"out": (FLOAT, ("batch", 3))},
        [("axes", TensorProto.INT64, [2], [1, 2])],
    )
    assert compile_engine(path, batch=(1, 2, 4))


@pytest.mark.parametrize(
    ("size", "sizes", "expected"),
    [
        (FREE, None, [(1, 128, 128, 3), (8, 480, 640, 3), (32, 1088, 1920, 3)]),
        (MULTIPLES, SIZES, [(1, 32, 32, 3), (8, 64, 96, 3), (32, 128, 128, 3)]),
        ((64, 96), None, [(1, 64, 96, 3), (8, 64, 96, 3), (32, 64, 96, 3)]),
    ],
)
def test_the_engine_is_made_for_a_range_of_batches_and_sizes(tmp_path, size, sizes, expected):
    graph = onnx.load(images(tmp_path / "x.onnx", size)).graph
    assert _shapes(graph, (1, 8, 32), sizes) == {"images": expected}


def test_the_usual_sizes_are_multiples_of_what_networks_want():
    assert not any(side % 32 for size in DEFAULT_SIZES for side in size)


REFUSED = {
    "Transpose": (
        {"images": (UINT8, ("batch", 8, 8, 3))},
        {"perm": [0, 3, 1, 2]},
        (UINT8, ("batch", 3, 8, 8)),
        (),
    ),
    "Resize": (
        {"x": (FLOAT, ("batch", 3, 8, 8)), "": None, "scales": None},
        {"mode": "linear", "antialias": 1},
        (FLOAT, ("batch", 3, 4, 4)),
        [("scales", FLOAT, [4], [1, 1, 0.5, 0.5])],
    ),
    # Found by the builder, not by the parser.
    "NonMaxSuppression": (
        {"boxes": (FLOAT, ("batch", 16, 4)), "scores": (FLOAT, ("batch", 1, 16)), "most": None},
        {},
        (TensorProto.INT64, (None, 3)),
        [("most", TensorProto.INT64, [1], [3])],
    ),
    # Its plug-in is missing without a GPU.
    "RoiAlign": (
        {"x": (FLOAT, (1, 3, 8, 8)), "boxes": (FLOAT, ("batch", 4)), "of": None},
        {"output_height": 2, "output_width": 2},
        (FLOAT, ("batch", 3, 2, 2)),
        [("of", TensorProto.INT64, [1], [0])],
    ),
}


@pytest.mark.parametrize("operator", REFUSED)
def test_a_refused_operator_is_named_with_its_node_and_the_reason(trt, tmp_path, operator):
    inputs, attributes, output, constants = REFUSED[operator]
    node = helper.make_node(operator, list(inputs), ["out"], name="the_node", **attributes)
    given = {name: kind for name, kind in inputs.items() if kind is not None}
    path = write(tmp_path / "x.onnx", [node], given, {"out": output}, constants)
    with pytest.raises(EngineCompileError) as error:
        compile_engine(path)
    first, reason, advice = str(error.value).splitlines()
    assert first == f"{path}: TensorRT-RTX cannot compile it. It refuses"
    assert reason.startswith(f"  {operator} (node 'the_node'): ") and len(reason) > 60
    assert "CUDA driver" not in reason
    assert "rewrites" in advice


def test_without_the_package_the_message_names_the_line_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(UnavailableError, match=r"pip install 'dlc-deploy\[trt-rtx\]'"):
        compile_engine(images(tmp_path / "x.onnx"))


@pytest.mark.parametrize(
    ("size", "options", "message"),
    [
        (FREE, {"compute_capabilities": ("sm90",)}, r"sm75, .* got \['sm90'\]"),
        (FREE, {"compute_capabilities": ("current",)}, r"sm75, .* got \['current'\]"),
        (FREE, {"compute_capabilities": "sm89"}, "Expected compute capabilities among"),
        (FREE, {"compute_capabilities": ()}, r"got \(\)"),
        (FREE, {"batch": (0, 1, 2)}, "batches 1 <= smallest"),
        (FREE, {"batch": (4, 2, 8)}, "batches 1 <= smallest"),
        (FREE, {"sizes": ((64, 96), (32, 128), (128, 128))}, "in both axes"),
        (MULTIPLES, {"sizes": ((32, 32), (64, 100), (128, 128))}, r"of 32, got \(64, 100\)"),
        ((64, 96), {"sizes": SIZES}, "one size"),
        ((64, 96, "depth"), {}, r"axis 3 of the input 'images' is free too \(depth\)"),
    ],
)
def test_options_that_do_not_fit_are_refused(trt, tmp_path, size, options, message):
    path = images(tmp_path / "x.onnx", size)
    with pytest.raises(UsageError, match=message):
        compile_engine(path, **options)


def test_what_is_no_onnx_file_is_told(trt, tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"rubbish")
    with pytest.raises(InputError, match=r"x\.onnx: expected an ONNX file"):
        compile_engine(tmp_path / "x.onnx")
    with pytest.raises(InputError, match="expected an ONNX file"):
        compile_engine(tmp_path / "absent.onnx")

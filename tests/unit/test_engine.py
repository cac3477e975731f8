from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from dlc_deploy.errors import BundleError, UnavailableError, UsageError
from tests.tiny_bundle import frame, pose_graph

ort = pytest.importorskip("onnxruntime")

from dlc_deploy.runtime.engines import onnxruntime as engine_module  # noqa: E402
from dlc_deploy.runtime.engines import open_engine  # noqa: E402

IMAGES = np.stack([frame((30, 20), 64, 48), frame((11, 40), 64, 48)])


@pytest.fixture
def graph(tmp_path):
    path = tmp_path / "pose.onnx"
    path.write_bytes(pose_graph())
    return path


@pytest.fixture
def engine(graph):
    return open_engine(graph, threads=1)


def test_outputs_have_the_names_of_the_graph(engine):
    outputs = engine.run({"images": IMAGES})
    assert list(outputs) == ["poses"] and outputs["poses"].dtype == np.float32
    np.testing.assert_allclose(outputs["poses"][:, 0, 0, :2], [[30, 20], [11, 40]], atol=1e-3)


def test_free_axes_take_any_size(engine):
    for count, width, height in ((1, 33, 47), (5, 200, 120)):
        images = np.stack([frame((20, 30), width, height)] * count)
        poses = engine.run({"images": images})["poses"]
        np.testing.assert_allclose(poses[:, 0, 0, :2], [[20, 30]] * count, atol=1e-3)


@pytest.mark.parametrize(
    ("images", "got"),
    [
        (IMAGES.astype(np.float32), r"float32 \[2, 48, 64, 3\]"),
        (IMAGES[0], r"uint8 \[48, 64, 3\]"),
        (IMAGES[..., :1], r"uint8 \[2, 48, 64, 1\]"),
    ],
)
def test_another_dtype_or_shape_is_refused_with_what_was_expected(engine, images, got):
    with pytest.raises(ValueError, match=rf"'images': expected uint8 \['N', .*, 3\], got {got}"):
        engine.run({"images": images})


@pytest.mark.parametrize("inputs", [{}, {"image": IMAGES}, {"images": IMAGES, "more": IMAGES}])
def test_other_names_are_refused_with_the_names_expected(engine, inputs):
    with pytest.raises(ValueError, match=r"Expected inputs \['images'\], got"):
        engine.run(inputs)


def test_fixed_axes_are_held_to_their_length(tmp_path):
    path = tmp_path / "fixed.onnx"
    path.write_bytes(pose_graph((48, 64), batch=2))
    engine = open_engine(path)
    assert engine.run({"images": IMAGES})["poses"].shape == (2, 1, 2, 3)
    with pytest.raises(ValueError, match=r"expected uint8 \[2, 48, 64, 3\], got uint8 \[1, "):
        engine.run({"images": IMAGES[:1]})


def test_images_that_are_not_contiguous_give_the_same(engine):
    expected = engine.run({"images": np.ascontiguousarray(IMAGES[:, :, ::-1])})["poses"]
    np.testing.assert_array_equal(engine.run({"images": IMAGES[:, :, ::-1]})["poses"], expected)


def test_a_closed_engine_says_so(engine):
    engine.close()
    engine.close()
    with pytest.raises(ValueError, match="was closed; open it again"):
        engine.run({"images": IMAGES})


def test_the_description_names_version_provider_and_threads(graph):
    assert open_engine(graph).description == f"ONNX Runtime {ort.__version__} (CPU)"
    one = open_engine(graph, threads=1).description
    assert one == f"ONNX Runtime {ort.__version__} (CPU, 1 thread a run)"
    assert "CPU, 3 threads a run" in open_engine(graph, threads=3).description


@pytest.mark.parametrize("device", ["gpu", "", "cpu:1", "cpu:", "cuda:", "cuda:x", "cuda:-1"])
def test_a_device_that_is_none_is_a_usage_error(graph, device):
    with pytest.raises(UsageError, match=f"cpu, cuda or cuda:N, got '{device}'"):
        open_engine(graph, device=device)


@pytest.mark.parametrize("device", ["cuda:\u0661", "cuda:\u00b2", "CUDA:0", " cpu"])
def test_a_device_is_spelt_in_small_letters_and_plain_digits(graph, device):
    with pytest.raises(UsageError, match="cpu, cuda or cuda:N"):
        open_engine(graph, device=device)


def test_cuda_without_its_provider_names_the_line_that_installs_it(graph, monkeypatch):
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(UnavailableError, match=r"cuda:1, but .*CPUExecutionProvider") as caught:
        open_engine(graph, device="cuda:1")
    assert "pip install 'dlc-deploy[gpu]'" in str(caught.value)
    assert "--device cpu" in str(caught.value)


def fake_session(monkeypatch, active):
    """Sessions of a GPU build: what they were asked for, and the providers they end up with."""
    asked = []

    def session(path, options, providers):
        asked.extend(providers)
        return SimpleNamespace(
            get_providers=lambda: active, get_inputs=lambda: [], get_outputs=lambda: []
        )

    available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: available)
    monkeypatch.setattr(ort, "InferenceSession", session)
    return asked


def test_cuda_computes_in_full_fp32_on_the_device_asked_for(graph, monkeypatch):
    active = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    asked = fake_session(monkeypatch, active)
    engine = open_engine(graph, device="cuda:2")
    assert engine.device == "cuda:2" and "(CUDA" in engine.description
    cuda, cpu = asked
    assert cuda == ("CUDAExecutionProvider", {"device_id": 2, "use_tf32": "0"})
    assert cpu == "CPUExecutionProvider"
    assert open_engine(graph, device="cuda").device == "cuda:0"


def test_cuda_never_falls_back_to_the_cpu(graph, monkeypatch):
    fake_session(monkeypatch, ["CPUExecutionProvider"])
    with pytest.raises(UnavailableError, match=r"cuda:0, but ONNX Runtime fell back to the CPU"):
        open_engine(graph, device="cuda")


@pytest.mark.parametrize("content", [b"", b"no graph at all", pose_graph()[:-300]])
def test_what_is_no_onnx_file_is_a_fault_of_the_bundle(tmp_path, content):
    path = tmp_path / "pose.onnx"
    path.write_bytes(content)
    with pytest.raises(BundleError, match="expected an ONNX file that ONNX Runtime") as caught:
        open_engine(path)
    assert str(path) in str(caught.value)


def test_a_damaged_graph_is_a_fault_of_the_bundle_on_any_device(tmp_path, monkeypatch):
    def refuse(path, options, providers):
        raise RuntimeError("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Protobuf parsing failed.")

    fake_session(monkeypatch, [])
    monkeypatch.setattr(ort, "InferenceSession", refuse)
    path = tmp_path / "pose.onnx"
    path.write_bytes(b"no graph at all")
    with pytest.raises(BundleError, match="INVALID_PROTOBUF"):
        open_engine(path, device="cuda")


def test_a_device_that_cannot_be_used_is_no_fault_of_the_bundle(graph, monkeypatch):
    def refuse(path, options, providers):
        if len(providers) > 1:
            raise RuntimeError("CUDA error 100: no CUDA-capable device is detected")

    fake_session(monkeypatch, [])
    monkeypatch.setattr(ort, "InferenceSession", refuse)
    with pytest.raises(UnavailableError, match="cuda:0, but CUDA error 100: no CUDA-capable"):
        open_engine(graph, device="cuda")


def test_onnx_runtime_that_is_not_installed_names_the_line_that_installs_it(graph, monkeypatch):
    monkeypatch.setitem(sys.modules, "dlc_deploy.runtime.engines.onnxruntime", None)
    with pytest.raises(UnavailableError, match=r"pip install 'dlc-deploy\[cpu\]'"):
        open_engine(graph)


def test_a_graph_with_inputs_of_an_unknown_type_is_a_fault_of_the_bundle(tmp_path, monkeypatch):
    path = tmp_path / "pose.onnx"
    path.write_bytes(pose_graph())
    monkeypatch.delitem(engine_module._TYPES, "tensor(uint8)")
    with pytest.raises(BundleError, match=r"got 'images' of tensor\(uint8\)") as caught:
        open_engine(path)
    assert str(path) in str(caught.value)

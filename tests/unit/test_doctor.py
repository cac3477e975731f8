from __future__ import annotations

import json
import sys
from importlib import metadata

import pytest

import dlc_deploy
from dlc_deploy.command import main
from dlc_deploy.runtime.commands import doctor


@pytest.fixture
def findings(capfd):
    def run():
        capfd.readouterr()
        assert main(["doctor", "--json"]) == 0
        out, err = capfd.readouterr()
        assert err == "" and len(out.splitlines()) == 1
        return {finding["name"]: finding for finding in json.loads(out)}

    return run


@pytest.fixture
def without(monkeypatch):
    """Hide distributions, as if they were not installed."""
    version = metadata.version

    def hide(*names):
        def hidden(name):
            if name in names:
                raise metadata.PackageNotFoundError(name)
            return version(name)

        monkeypatch.setattr(doctor.metadata, "version", hidden)

    return hide


def test_versions_cores_and_decoders_are_found(findings):
    found = findings()
    assert found["dlc-deploy"]["found"] == dlc_deploy.__version__
    assert found["numpy"]["found"] == metadata.version("numpy")
    assert int(found["CPU cores"]["found"].split(":")[0]) >= 1
    assert {"h264", "mjpeg"} <= set(found["video decoders"]["found"].split(", "))
    assert found["FFmpeg"]["found"].startswith("libavcodec ")


def test_the_table_has_every_finding(findings, capfd, monkeypatch):
    names = list(findings())
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["doctor"]) == 0
    out, err = capfd.readouterr()
    assert err == "" and all(name in out for name in names)


def test_each_missing_package_comes_with_the_line_that_installs_it(findings, without):
    without("onnxruntime", "onnxruntime-gpu", "torch", "numpy")
    found = findings()
    assert found["onnxruntime"] == {
        "name": "onnxruntime",
        "found": "",
        "remedy": "pip install 'dlc-deploy[cpu]'",
    }
    assert found["torch"]["remedy"] == "pip install 'dlc-deploy[export,cpu]'"
    for name, finding in found.items():
        assert finding["found"] or finding["remedy"], name


def test_brackets_of_a_remedy_reach_the_table(capfd, without, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    without("torch")
    assert main(["doctor"]) == 0
    assert "pip install 'dlc-deploy[export,cpu]'" in capfd.readouterr().out


def test_the_gpu_builds_count_as_the_package(findings, monkeypatch):
    def version(name):
        if name in ("onnxruntime", "opencv-python-headless"):
            raise metadata.PackageNotFoundError(name)
        return {"onnxruntime-gpu": "1.99", "opencv-python": "4.99"}.get(name, "1")

    monkeypatch.setattr(doctor.metadata, "version", version)
    found = findings()
    assert (found["onnxruntime"]["found"], found["onnxruntime"]["remedy"]) == ("1.99", "")
    assert found["opencv-python-headless"]["found"] == "4.99"


@pytest.mark.parametrize("cuda", [True, False])
def test_the_cuda_provider_is_told_from_its_absence(findings, monkeypatch, cuda):
    ort = pytest.importorskip("onnxruntime")
    providers = ["CUDAExecutionProvider"] * cuda + ["CPUExecutionProvider"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: providers)
    found = findings()
    assert found["ONNX Runtime providers"]["found"] == "CUDA, CPU"[0 if cuda else 6 :]
    assert bool(found["CUDA provider"]["found"]) is cuda
    assert ("dlc-deploy[gpu]" in found["CUDA provider"]["remedy"]) is not cuda


@pytest.mark.parametrize("fault", [ImportError, OSError])
def test_an_onnx_runtime_that_cannot_be_imported_hides_nothing_else(findings, monkeypatch, fault):
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "onnxruntime":
                raise fault("libcudart.so.12: cannot open shared object file")

    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    found = findings()
    assert "FFmpeg" in found
    assert "libcudart.so.12" in found["ONNX Runtime providers"]["remedy"]

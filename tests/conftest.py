"""What is skipped where; the one place that decides it."""

from __future__ import annotations

import ctypes
import os
import sys

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """One process runs all tests of a file, or of a model family in it: they share what is made
    for the file or the family once."""
    from xdist.scheduler import LoadScopeScheduling

    class FileOrFamily(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file, _, test = nodeid.partition("::")
            parameters = test.partition("[")[2].rstrip("]")
            return f"{file} {parameters.split('-')[0]}" if "families" in file else file

    return FileOrFamily(config, log)


def pytest_runtest_setup(item):
    if "torch" in sys.modules:  # the same numbers whichever tests a process ran before
        sys.modules["torch"].manual_seed(0)
    if item.get_closest_marker("gpu") is None:
        return
    reason = lacks_cuda()
    if reason is None:
        return
    if "cuda" in os.environ.get("DLC_DEPLOY_REQUIRE", "").split(","):
        pytest.fail(f"DLC_DEPLOY_REQUIRE asks for cuda, but {reason}", pytrace=False)
    pytest.skip(reason)


def lacks_cuda() -> str | None:
    """Why a CUDA test cannot run here, or None where it can."""
    try:
        import onnxruntime
    except ImportError:
        return "ONNX Runtime is not installed"
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return "this ONNX Runtime has no CUDA provider"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver"
    devices = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(devices)) or not devices.value:
        return "the NVIDIA driver finds no device"
    return None

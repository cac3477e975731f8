"""``dlc-deploy doctor``: what this machine has, and how to get what it lacks."""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import asdict, dataclass
from importlib import metadata

DESCRIPTION = "Show devices, engines and decoders, and for each missing thing how to install it."

_PACKAGES = {
    "numpy": "pip install dlc-deploy",
    "opencv-python-headless": "pip install dlc-deploy",
    "av": "pip install dlc-deploy",
    "pandas": "pip install dlc-deploy",
    "tables": "pip install dlc-deploy",
    "onnxruntime": "pip install 'dlc-deploy[cpu]'",
    "torch": "pip install 'dlc-deploy[export,cpu]'",
    "torchvision": "pip install 'dlc-deploy[export,cpu]'",
    "timm": "pip install 'dlc-deploy[export,cpu]'",
    "onnx": "pip install 'dlc-deploy[export,cpu]'",
}
_ALTERNATIVES = {"onnxruntime": "onnxruntime-gpu", "opencv-python-headless": "opencv-python"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table.

    Attributes:
        remedy: what installs it; empty where it is there.
    """

    name: str
    found: str
    remedy: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    findings = [*_machine(), *_packages(), *_providers(), *_codecs()]
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in findings]))
        return 0
    from rich.table import Table

    from dlc_deploy.runtime.console import print_table

    table = Table("what", "found", "if you need it")
    for finding in findings:
        table.add_row(finding.name, finding.found or "not found", finding.remedy)
    print_table(table)
    return 0


def _machine() -> list[Finding]:
    from dlc_deploy import __version__
    from dlc_deploy.runtime.parallel import Parallelism, available_cores

    plan = Parallelism.for_throughput("cpu")
    return [
        Finding("dlc-deploy", __version__),
        Finding("Python", f"{platform.python_version()} on {platform.platform()}"),
        Finding(
            "CPU cores",
            f"{available_cores()}: {plan.workers} batches of {plan.batch} frames at once, "
            f"threads for each: {plan.threads}",
        ),
    ]


def _packages() -> list[Finding]:
    findings = []
    for name, remedy in _PACKAGES.items():
        version = _version(name) or _version(_ALTERNATIVES.get(name, ""))
        findings.append(Finding(name, version, "" if version else remedy))
    return findings


def _version(name: str) -> str:
    try:
        return metadata.version(name) if name else ""
    except metadata.PackageNotFoundError:
        return ""


def _providers() -> list[Finding]:
    try:
        import onnxruntime
    except ModuleNotFoundError:
        return []
    except (ImportError, OSError) as error:
        return [Finding("ONNX Runtime providers", "", f"it cannot be imported: {error}")]
    providers = [p.removesuffix("ExecutionProvider") for p in onnxruntime.get_available_providers()]
    cuda = "CUDA" in providers
    return [
        Finding("ONNX Runtime providers", ", ".join(providers)),
        Finding(
            "CUDA provider",
            "built in (a device is tried when asked for)" if cuda else "",
            "" if cuda else "pip uninstall onnxruntime; pip install 'dlc-deploy[gpu]'",
        ),
    ]


def _codecs() -> list[Finding]:
    import av

    decoders = [name for name in ("h264", "hevc", "av1", "mpeg4", "mjpeg", "ffv1") if _has(name)]
    return [
        Finding("video decoders", ", ".join(decoders)),
        Finding("FFmpeg", f"libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"),
        Finding("H.264 encoder (labelled videos)", "libx264" if _has("libx264", "w") else "mpeg4"),
    ]


def _has(codec: str, mode: str = "r") -> bool:
    import av

    try:
        av.Codec(codec, "w" if mode == "w" else "r")
    except av.codec.codec.UnknownCodecError:
        return False
    return True

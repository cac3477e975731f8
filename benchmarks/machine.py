"""What a figure was measured on, and how much of the machine others used meanwhile."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from dlc_deploy.runtime.parallel import available_cores

_PACKAGES = ("dlc-deploy", "onnxruntime", "numpy", "opencv-python-headless", "av", "pandas")


def describe_machine() -> dict[str, str | int | float]:
    """Processor, cores this process may use, memory in GiB, system."""
    return {
        "processor": _processor(),
        "cores": available_cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
    }


def describe_versions() -> dict[str, str]:
    """This Python, the packages that matter, and the commit where this is a checkout."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    git = ["git", "-C", str(Path(__file__).resolve().parent), "describe", "--always", "--dirty"]
    try:
        versions["commit"] = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        versions["commit"] = ""
    return versions


def busy_seconds() -> float | None:
    """Processor seconds that all programs together have used since the machine started.

    None where the system has no /proc/stat.
    """
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    except FileNotFoundError:
        return None
    user, nice, system, _idle, _waiting, interrupt, soft_interrupt = map(int, fields[1:8])
    return (user + nice + system + interrupt + soft_interrupt) / os.sysconf("SC_CLK_TCK")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
